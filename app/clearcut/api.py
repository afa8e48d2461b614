"""The Python API: ``from clearcut import Remover, remove``.

Both run the same pipeline as the service. See docs/cli-and-python.md.
"""

from __future__ import annotations

import difflib
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from .cutout import CutoutOutput, CutoutRequest
from .errors import ClearcutError, ImageError, InvalidField
from .imaging.python_images import PilImage, from_array, png_of, to_pil
from .imaging.types import U8, Box, ComposedImage, DecodedImage
from .local_engine import LocalEngine, local_settings
from .observability.timing import RequestTiming
from .web.apis.poof_options import FIELDS, add_background_type, parse_options, request_options, require_background
from .web.request.json_body import scalar_text

Array = npt.NDArray[np.generic]
FileBytes = bytes | bytearray | memoryview
ImagePath = str | os.PathLike[str]
Input = FileBytes | ImagePath | PilImage | Array

FILE_OPTIONS = ("bg_image", "mask")
"""Options with an image as value, in any form that ``remove`` accepts."""
NO_DEADLINE_S = 1e9


@dataclass(frozen=True, slots=True)
class RemoverResult:
    """The result of ``Remover.cut``."""

    image: Any
    """The cut-out: ``bytes``, a Pillow image or an array, as ``remove`` returns for the same input."""
    alpha: U8
    """The matte, u8[H,W]. H and W are those of the upright input, or less if ``size`` let the decoder reduce it."""
    box: Box | None
    """Bounding box of the subject in the upright input, pixels; None without a subject."""
    confidence: float
    """0 to 1: estimated quality of the cut-out; see ``X-Matte-Confidence`` in docs/api.md."""
    timings: Mapping[str, float]
    """Milliseconds by stage, and ``total``."""
    model: str | None = None
    """Name of the model that made the matte; None for a matte of the caller or of the input."""


class Remover:
    """Removes backgrounds with one model, which it loads at the first call and keeps.

    Threads may share a remover. After ``os.fork`` the child loads its own model at its first call; on a GPU, create
    removers after the fork.
    """

    def __init__(
        self,
        model: str | None = None,
        device: str | None = None,
        *,
        workers: int | None = None,
        tune: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """
        Args:
            model: name of the model; None uses ``CLEARCUT_MODEL``.
            device: ``auto``, ``cpu``, ``cuda`` or ``tensorrt``; None uses ``CLEARCUT_DEVICE``.
            workers: threads for decoding and encoding; None uses ``CLEARCUT_WORKERS``.
            tune: measure at start which number of sessions and batch size are fastest. Takes about a second longer,
                and is faster for many images from several threads.
            settings: further settings by name, such as ``precision``; they replace those of the environment.
        """
        self._overrides = dict(settings or {})
        chosen = {"model": model, "device": device, "workers": workers}
        self._overrides |= {name: value for name, value in chosen.items() if value is not None}
        self._tune = tune
        self._lock = threading.Lock()
        self._engine: LocalEngine | None = None
        self._finalizer: weakref.finalize[..., Remover] | None = None
        _removers.add(self)

    @overload
    def remove(self, x: FileBytes, **options: Any) -> bytes: ...
    @overload
    def remove(self, x: ImagePath | PilImage, **options: Any) -> PilImage: ...
    @overload
    def remove(self, x: Array, **options: Any) -> U8: ...
    def remove(self, x: Input, **options: Any) -> bytes | PilImage | U8:
        """Remove the background of one image; see the function ``remove``."""
        output, _, _ = self.process(x, options)
        return _image(x, output)

    def cut(self, x: Input, **options: Any) -> RemoverResult:
        """Remove the background of one image and return the cut-out with its properties.

        Args:
            x: as for ``remove``.
            options: as for ``remove``.

        Raises:
            as for ``remove``.
        """
        output, timings, model = self.process(x, options, keep_alpha=True)
        if output.alpha is None:
            raise AssertionError("the pipeline returned no matte")
        return RemoverResult(_image(x, output), output.alpha, output.box, output.confidence, timings, model)

    def process(
        self, x: Input, options: Mapping[str, Any], *, keep_alpha: bool = False
    ) -> tuple[CutoutOutput, dict[str, float], str | None]:
        """Process one image; return its output, the milliseconds by stage and the model. Raises as ``remove``."""
        timing = RequestTiming(NO_DEADLINE_S)
        with _named_options() as names:
            result = self._get_engine().remove(_parse_input(x, options, names, keep_alpha=keep_alpha), timing)
        timings = {stage.name: round(1000 * stage.seconds, 2) for stage in timing.stages}
        return result.outputs[0], timings | {"total": round(1000 * timing.elapsed(), 2)}, result.model

    @property
    def model(self) -> str:
        """Name of the default model. It is loaded if necessary."""
        return self._get_engine().model

    def load(self) -> None:
        """Load the model now instead of at the first call.

        Raises:
            StartupError: the model cannot run.
        """
        self._get_engine()

    def close(self) -> None:
        """End the threads and release the model. A later call loads it again.

        Calls in progress in other threads may raise ``RemoverClosed``.
        """
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._engine, self._finalizer = None, None

    def __enter__(self) -> Remover:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _get_engine(self) -> LocalEngine:
        with self._lock:
            if self._engine is None:
                self._engine = LocalEngine(local_settings(**self._overrides), tune=self._tune)
                self._finalizer = weakref.finalize(self, self._engine.close)
                self._finalizer.atexit = False
            return self._engine

    def _reset(self) -> None:
        """Forget the engine without using it: in a forked child its threads do not exist."""
        if self._finalizer is not None:
            self._finalizer.detach()
        _orphans.append(self._engine)
        self._lock = threading.Lock()
        self._engine, self._finalizer = None, None


_removers: weakref.WeakSet[Remover] = weakref.WeakSet()
_orphans: list[object] = []
"""Engines of the parent process. A forked child never frees them, because that could wait for their threads."""


def _reset_after_fork() -> None:
    for remover in list(_removers):
        remover._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)

_default = Remover()


@overload
def remove(x: FileBytes, **options: Any) -> bytes: ...
@overload
def remove(x: ImagePath | PilImage, **options: Any) -> PilImage: ...
@overload
def remove(x: Array, **options: Any) -> U8: ...
def remove(x: Input, **options: Any) -> bytes | PilImage | U8:
    """Remove the background of one image. The first call loads the model.

    Args:
        x: an encoded image as bytes, a path, a Pillow image, or an array u8[H,W,3] or u8[H,W,4] of upright sRGB.
        options: the fields of ``POST /v1/remove``, such as ``format="webp"``, ``crop=True`` or ``bg_color="white"``.
            ``bg_image`` and ``mask`` are images in any of the forms of ``x``. A mask can also be a matte, u8[H,W] or
            u8[H,W,1].

    Returns:
        bytes for bytes, in ``format`` (PNG by default); a Pillow image for a path or a Pillow image; an array u8[H,W,C]
        for an array, with C = 1, 3 or 4 by ``channels`` and ``format``.

    Raises:
        TypeError: the input has another type, or an option does not exist.
        OSError: the file cannot be read.
        InputError: the image or the value of an option is invalid.
        StartupError: the model cannot run.
        RemoverClosed: ``Remover.close`` was called during the call.
    """
    return _default.remove(x, **options)


@contextmanager
def _named_options() -> Iterator[dict[str, str]]:
    """Yield the caller's option names by role or option, for the texts of errors."""
    names = {"background": "bg_image"}
    try:
        yield names
    except ClearcutError as exc:
        exc.names = names
        raise


def _parse_input(x: Input, options: Mapping[str, Any], names: dict[str, str], *, keep_alpha: bool) -> CutoutRequest:
    """Return the request for an input and its options, and add the names of the options to ``names``.

    Raises:
        TypeError, OSError, InputError: as for ``remove``.
    """
    values = {name: value for name, value in options.items() if value is not None and name not in FILE_OPTIONS}
    fields = add_background_type(_texts(values), has_background=options.get("bg_image") is not None)
    parsed, by_field = parse_options(fields)
    names.update(by_field.names)
    require_background([parsed], has_background=options.get("bg_image") is not None)
    encode = isinstance(x, FileBytes)
    if parsed.format == "zip" and not encode:
        raise InvalidField("format", "an image format, because the result is an image in memory")
    background, mask = _option_file(options, "bg_image", "background"), _option_file(options, "mask", "mask")
    return CutoutRequest(
        _source(x), (parsed,), background, mask, encode=encode, keep_alpha=keep_alpha, **request_options(fields)
    )


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the options as texts of form fields."""
    texts = {}
    for name, value in values.items():
        if name not in FIELDS:
            close = difflib.get_close_matches(name, [*FIELDS, *FILE_OPTIONS], n=1)
            raise TypeError(f"unknown option {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        try:
            text = scalar_text(value.item() if isinstance(value, np.generic) else value)
        except ValueError:
            raise TypeError(f"option {name!r}: expected a text, a number or a boolean") from None
        if text is not None:
            texts[name] = text
    return texts


def _option_file(options: Mapping[str, Any], name: str, role: str) -> bytes | None:
    """Return the file of an option; None if it is not set. Image errors get ``role``."""
    value = options.get(name)
    if value is None:
        return None
    if name == "mask" and isinstance(value, np.ndarray) and value.dtype == np.uint8 and _is_matte(value):
        value = np.repeat(value.reshape(*value.shape[:2], 1), 3, axis=2)
    try:
        return _file(value)
    except ImageError as exc:
        exc.role = role
        raise


def _is_matte(pixels: Array) -> bool:
    return pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1)


def _source(x: Input) -> bytes | DecodedImage:
    return from_array(x) if isinstance(x, np.ndarray) else _file(x)


def _file(x: Input) -> bytes:
    """Return an input as a file."""
    if isinstance(x, FileBytes):
        return bytes(x)
    if isinstance(x, str | os.PathLike):
        return Path(x).read_bytes()
    if isinstance(x, PilImage):
        return png_of(x)
    if isinstance(x, np.ndarray):
        image = from_array(x)
        pixels = image.rgb if image.alpha is None else np.dstack([image.rgb, image.alpha])
        return png_of(to_pil(ComposedImage(pixels)))
    raise TypeError(f"expected bytes, a path, a Pillow image or an array, got {type(x).__name__}")


def _image(x: Input, output: CutoutOutput) -> bytes | PilImage | U8:
    """Return an output in the form that belongs to the input."""
    if output.pixels is None:
        return bytes(output.image.data)
    return output.pixels.pixels if isinstance(x, np.ndarray) else to_pil(output.pixels)
