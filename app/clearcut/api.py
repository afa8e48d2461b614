"""The Python API: ``from clearcut import Remover, remove``.

Both run the same pipeline as the service. See docs/cli-and-python.md.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, overload

from .api_inputs import Array, FileBytes, ImagePath, Input, output_like, parse_input
from .cutout_types import CutoutResult
from .errors import ClearcutError
from .imaging.python_images import PilImage
from .imaging.types import U8, Box
from .local_pipeline import LocalPipeline, local_settings
from .observability.timing import RequestTiming

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
    moderation: Literal["passed", "not run"] | None = None
    """Result of moderation: ``not run`` without a classifier; None without the option ``moderation``."""


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
        self._pipeline: LocalPipeline | None = None
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
        result, _ = self.process(x, options)
        return output_like(x, result.outputs[0])

    def cut(self, x: Input, **options: Any) -> RemoverResult:
        """Remove the background of one image and return the cut-out with its properties.

        Args:
            x: as for ``remove``.
            options: as for ``remove``.

        Raises:
            as for ``remove``.
        """
        result, timings = self.process(x, options, keep_alpha=True)
        output = result.outputs[0]
        if output.alpha is None:
            raise AssertionError("the pipeline returned no matte")
        image = output_like(x, output)
        return RemoverResult(
            image, output.alpha, output.box, output.confidence, timings, result.model, result.moderation
        )

    def process(
        self, x: Input, options: Mapping[str, Any], *, variants: str | None = None, keep_alpha: bool = False
    ) -> tuple[CutoutResult, dict[str, float]]:
        """Process one image; return its result and the milliseconds by stage. Raises as ``remove``.

        Args:
            variants: a JSON list of option sets, as in ``POST /v1/remove``; each set gives one output.
        """
        timing = RequestTiming(NO_DEADLINE_S)
        with _named_options() as names:
            request = parse_input(x, options, names, variants=variants, keep_alpha=keep_alpha)
            result = self._get_pipeline().remove(request, timing)
        timings = {stage.name: round(1000 * stage.seconds, 2) for stage in timing.stages}
        return result, timings | {"total": round(1000 * timing.elapsed(), 2)}

    @property
    def model(self) -> str:
        """Name of the default model. It is loaded if necessary."""
        return self._get_pipeline().model

    def load(self) -> None:
        """Load the model now instead of at the first call.

        Raises:
            StartupError: the model cannot run.
        """
        self._get_pipeline()

    def close(self) -> None:
        """End the threads and release the model. A later call loads it again.

        Calls in progress in other threads may raise ``RemoverClosed``.
        """
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._pipeline, self._finalizer = None, None

    def __enter__(self) -> Remover:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _get_pipeline(self) -> LocalPipeline:
        with self._lock:
            if self._pipeline is None:
                self._pipeline = LocalPipeline(local_settings(**self._overrides), tune=self._tune)
                self._finalizer = weakref.finalize(self, self._pipeline.close)
                self._finalizer.atexit = False
            return self._pipeline

    def _reset(self) -> None:
        """Forget the pipeline without using it: in a forked child its threads do not exist."""
        if self._finalizer is not None:
            self._finalizer.detach()
        _orphans.append(self._pipeline)
        self._lock = threading.Lock()
        self._pipeline, self._finalizer = None, None


_removers: weakref.WeakSet[Remover] = weakref.WeakSet()
_orphans: list[object] = []
"""Pipelines of the parent process. A forked child never frees them, because that could wait for their threads."""


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
