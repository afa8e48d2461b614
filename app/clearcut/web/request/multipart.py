"""multipart/form-data, parsed as it arrives: each file grows one bytearray; text parts are small and counted.

python-multipart parses (RFC 7578, RFC 2046); this module decides which parts are stored and limits them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from clearcut.errors import InvalidField, MalformedBody, MultipleImages, TooManyBytes

from .body import Body
from .header_params import parse_parameters
from .limits import MAX_FIELD_BYTES, MAX_FIELDS, MAX_NAME_CHARS, base64_size
from .line_feeds import LineFeedConverter

_LINE_FEED = ord("\n")
_MAX_LINE_BYTES = 1024
"""Longest content of a file field that can be a file name or a URL sent by mistake."""


async def read_multipart(
    parameters: Mapping[bytes, bytes],
    body: Body,
    file_fields: Mapping[str, str],
    max_file_bytes: int,
    max_bytes: int,
    base64_fields: Mapping[str, str] = MappingProxyType({}),
) -> FormReader:
    """Read a multipart/form-data body.

    Args:
        parameters: of the Content-Type header.
        max_bytes: of the body. Other arguments as ``FormReader``.

    Raises:
        MalformedBody, MultipleImages, InvalidField, TooManyBytes: the body is invalid.
        UploadTimeout, ClientGone: the body stopped arriving.
    """
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise MalformedBody("multipart/form-data without a boundary; let your HTTP client write the Content-Type")
    try:
        form = FormReader(boundary, file_fields, max_file_bytes, base64_fields)
        while chunk := await body.chunk():
            if body.received > max_bytes:
                raise TooManyBytes(max_file_bytes)
            form.feed(chunk)
        form.finish()
    except FormParserError:
        raise MalformedBody("The multipart body is malformed") from None
    for name, role in form.unnamed_files.items():
        if _is_line_of_text(form.files[role]):
            raise InvalidField(name, f"a file, not text. Did you forget @, as in curl -F {name}=@photo.jpg?")
    return form


def _is_line_of_text(data: bytearray) -> bool:
    """Return whether a file is one line of text, such as a file name."""
    if not data or len(data) > _MAX_LINE_BYTES:
        return False
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        return False
    return text.isprintable() and not text.startswith("<")


class FormReader:
    """Call ``feed`` for each chunk, then ``finish``.

    Args:
        file_fields: role by file field; several fields may have one role, which only one of them may fill.
        max_file_bytes: of one file.
        base64_fields: role by text field that holds a file in base64.
    """

    def __init__(
        self,
        boundary: bytes,
        file_fields: Mapping[str, str],
        max_file_bytes: int,
        base64_fields: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.files: dict[str, bytearray] = {}
        """Files by role."""
        self.field_names: dict[str, str] = {}
        """The field of each file by role."""
        self.fields: dict[str, str] = {}
        """Text fields; empty ones are absent."""
        self.base64_texts: dict[str, bytearray] = {}
        """Undecoded texts of ``base64_fields``."""
        self.unknown_files: list[str] = []
        """Fields with a file that are not in ``file_fields``."""
        self.unnamed_files: dict[str, str] = {}
        """Role by file field, for fields without a file name. Their content can be text by mistake."""
        self._file_fields = file_fields
        self._base64_fields = base64_fields
        self._max_base64_size = base64_size(max_file_bytes)
        self._max_file_bytes = max_file_bytes
        self._parts = 0
        self._delimiter = b"\n--" + boundary
        self._boundary = boundary
        self._preamble: bytes | None = b"\n"
        """The last bytes before the first delimiter, which starts a line; None after it."""
        self._converter: LineFeedConverter | None = None
        """For a body with bare line feeds."""
        self._duplicate = ""
        """Role of a further file for the same input. It may only be empty."""
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
            python_multipart.exceptions.FormParserError: the syntax is invalid.
            MalformedBody, MultipleImages, InvalidField, TooManyBytes: the form exceeds a limit or breaks a rule.
        """
        if self._preamble is not None:
            data = self._skip_preamble(data)
        if data and self._converter is not None:
            data = self._converter.convert(data)
        if data:
            self._parser.write(data)

    def finish(self) -> None:
        """Check that the body is complete; raise MalformedBody without a closing boundary."""
        if self._preamble is not None:
            raise MalformedBody("The multipart body does not contain the boundary of its Content-Type")
        if self._converter is not None and (rest := self._converter.finish()):
            self._parser.write(rest)
        self._parser.finalize()
        if not self._ended:
            raise MalformedBody("The multipart body ends before its closing boundary")

    def _skip_preamble(self, data: bytes) -> bytes:
        """Return the bytes from the first delimiter on; empty before it. Text before it is ignored (RFC 2046 5.1.1)."""
        data = (self._preamble or b"") + data
        at = data.find(self._delimiter)
        end = at + len(self._delimiter)
        if at < 0 or end == len(data):
            self._preamble = data[-len(self._delimiter) :]
            return b""
        self._preamble = None
        if data[end] == _LINE_FEED:
            self._converter = LineFeedConverter(self._boundary)
        return data[at + 1 :]

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise MalformedBody(f"More than {MAX_FIELDS} parts in the multipart body")
        self._disposition = b""
        self._target = None
        self._duplicate = ""

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
        if self._name.endswith("[]") and self._name[:-2] in {*self._file_fields, *self._base64_fields}:
            self._name = self._name[:-2]  # PHP and JavaScript clients mark fields of lists so
        role = self._file_fields.get(self._name)
        self._is_file = role is not None
        if role is not None:
            if self.files.get(role):
                self._duplicate = role
                return
            self.files[role] = self._target = bytearray()
            self.field_names[role] = self._name
            if b"filename" not in options and b"filename*" not in options:
                self.unnamed_files[self._name] = role
        elif b"filename" in options or b"filename*" in options:
            self.unknown_files.append(self._name)  # its bytes count as part of the body and are dropped
        else:
            self._target = bytearray()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._duplicate and end > start:
            fields = [name for name, other in self._file_fields.items() if other == self._duplicate]
            raise MultipleImages(self._duplicate, fields)
        target = self._target
        if target is None:
            return
        if self._is_file:
            limit = self._max_file_bytes
        else:
            limit = self._max_base64_size if self._name in self._base64_fields else MAX_FIELD_BYTES
        if len(target) + end - start > limit:
            if self._is_file or self._name in self._base64_fields:
                role = self._file_fields.get(self._name) or self._base64_fields[self._name]
                raise TooManyBytes(self._max_file_bytes, role=role)
            raise InvalidField(self._name, f"at most {MAX_FIELD_BYTES} bytes")
        target += memoryview(data)[start:end]

    def _part_end(self) -> None:
        if self._target is None or self._is_file:
            return
        if self._name in self._base64_fields:
            if self._name in self.base64_texts:
                raise InvalidField(self._name, "one value; the field was sent more than once")
            if self._target:
                self.base64_texts[self._name] = self._target
            return
        try:
            value = self._target.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise InvalidField(self._name, "UTF-8 text") from None
        if self._name in self.fields:
            raise InvalidField(self._name, "one value; the field was sent more than once")
        if value:
            self.fields[self._name] = value

    def _end(self) -> None:
        self._ended = True
