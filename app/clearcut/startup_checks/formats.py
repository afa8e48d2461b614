"""Start-up check of the HEIC decoder, which needs a kernel with seccomp and a certain version of OpenCV."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator

from clearcut.errors import ClearcutError
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from clearcut.settings import Settings

from .findings import Finding

_SAMPLE = zlib.decompress(
    base64.b85decode(
        "c-muNV30^FsVvAy%}izhg51nBLkOGEI5)K<kpTh}Gg5MjplpVM%;XXVG{9GoS&|E8F#@r2W@cU*oF@w8q%uKy8D+_aAm;YWf}#Q-JuR~!IUh);"
        "10|dpnL$Dmz&hnVF#P%Z;|Bu+Kl1{hMsWv59>)LwK?;~bDwsh??t{ugpq#W5BO{u`f)4lp*FKiV2rL51v%4@JC~R2L05nx3v$!A?>Sh5b7EaF3"
        "DauREsQ@bFWncp-lgup0O@un1k%5u9fw6(9ff?kg%$$61K)HY=AW9g6fw&upC+DUl0)vLJU5#;lTSLtV2VoR~Z4`ok4FJE*0N4"
    )
)
"""A HEIC of 16 x 16 pixels."""
_COLOR = (200, 100, 50)
"""Color of its pixels."""


def check_formats(_: Settings) -> Iterator[Finding]:
    """The HEIC decoder should work; the service runs without it."""
    try:
        pixels = decode(_SAMPLE, probe(_SAMPLE, ProbeLimits())).rgb
    except ClearcutError as exc:
        yield Finding("note", "formats", f"HEIC files get 400: {exc}")
        return
    works = all(abs(int(found) - level) <= 1 for found, level in zip(pixels[8, 8], _COLOR, strict=True))
    if works:
        yield Finding("ok", "formats", "HEIC is decoded, in a confined process")
    else:
        yield Finding("error", "formats", "the HEIC decoder returns wrong pixels; install the locked version of OpenCV")
