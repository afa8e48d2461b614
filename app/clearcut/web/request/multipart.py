"""multipart/form-data, parsed as it arrives: each file grows one bytearray, text parts are small and counted.

The parsing itself is python-multipart's (RFC 7578, RFC 2046); this module decides what is kept and how much of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from python_multipart.multipart import MultipartParser

from clearcut.errors import InvalidField, MalformedBody, MultipleImages, TooManyBytes

from .header_params import parse_parameters

MAX_PARTS = 64
MAX_FIELD_BYTES = 8 * 1024
MAX_NAME_CHARS = 64


class FormReader:
    """Feed it chunks, then ``finish``; read ``files``, ``fields`` and ``other_files``.

    Args:
        roles: what the file in each field is for; several fields may name one role, and each role is filled once.
        max_file_bytes: of any one file.
        large: text fields that hold a file in base64; their caps are of ``max_text_bytes``.
    """

    def __init__(
        self,
        boundary: bytes,
        roles: Mapping[str, str],
        max_file_bytes: int,
        large: Mapping[str, str] = MappingProxyType({}),
        max_text_bytes: int = MAX_FIELD_BYTES,
    ) -> None:
        self.files: dict[str, bytearray] = {}
        """Contents by role."""
        self.file_fields: dict[str, str] = {}
        """The field of each file, by role."""
        self.fields: dict[str, str] = {}
        self.other_files: list[str] = []
        """Fields with a file that has no role here."""
        self.texts: dict[str, bytearray] = {}
        """The fields of ``large``, as they came."""
        self._roles = roles
        self._large = large
        self._max_text_bytes = max_text_bytes
        self._max_file_bytes = max_file_bytes
        self._parts = 0
        self._ended = False
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        self._name = ""
        self._target: bytearray | None = None
        self._is_file = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_begin": self._header_begin,
                "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        """Parse the next chunk.

        Raises:
            python_multipart.exceptions.FormParserError: the syntax is broken.
            MalformedBody, InvalidField, TooManyBytes: a cap or a rule of ours is broken.
        """
        self._parser.write(data)

    def finish(self) -> None:
        """To be called at the end of the body; raises MalformedBody when the closing boundary never came."""
        self._parser.finalize()
        if not self._ended:
            raise MalformedBody("The multipart body ends before its closing boundary")

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MalformedBody(f"More than {MAX_PARTS} parts in the multipart body")
        self._disposition = b""
        self._target = None

    def _header_begin(self) -> None:
        self._header_name.clear()
        self._header_value.clear()

    def _header_end(self) -> None:
        if bytes(self._header_name).lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)

    def _headers_finished(self) -> None:
        kind, options = parse_parameters(self._disposition, "Content-Disposition")
        raw_name = options.get(b"name", b"")
        if kind != b"form-data" or not raw_name:
            raise MalformedBody("A part of the multipart body has no Content-Disposition: form-data with a name")
        try:
            self._name = raw_name.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedBody("A field name in the multipart body is not UTF-8") from None
        if len(self._name) > MAX_NAME_CHARS:
            raise MalformedBody(
                f"The field name '{self._name[:20]}…' in the multipart body is longer than {MAX_NAME_CHARS} characters"
            )
        role = self._roles.get(self._name)
        self._is_file = role is not None
        if role is not None:
            if role in self.files:
                raise MultipleImages(role, [name for name, other in self._roles.items() if other == role])
            self.files[role] = self._target = bytearray()
            self.file_fields[role] = self._name
        elif b"filename" in options or b"filename*" in options:
            self.other_files.append(self._name)  # its bytes are counted with the body and not kept
        else:
            self._target = bytearray()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        target = self._target
        if target is None:
            return
        if self._is_file:
            cap = self._max_file_bytes
        else:
            cap = self._max_text_bytes if self._name in self._large else MAX_FIELD_BYTES
        if len(target) + end - start > cap:
            if self._is_file or self._name in self._large:
                raise TooManyBytes(self._max_file_bytes)
            raise InvalidField(self._name, f"at most {MAX_FIELD_BYTES} bytes")
        target += memoryview(data)[start:end]

    def _part_end(self) -> None:
        if self._target is None or self._is_file:
            return
        if self._name in self._large:
            if self._name in self.texts:
                raise InvalidField(self._name, "one value; the field was sent more than once")
            if self._target:
                self.texts[self._name] = self._target
            return
        try:
            value = self._target.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise InvalidField(self._name, "UTF-8 text") from None
        if self._name in self.fields:
            raise InvalidField(self._name, "one value; the field was sent more than once")
        if value:  # an empty string is the same as an absent field
            self.fields[self._name] = value

    def _end(self) -> None:
        self._ended = True
