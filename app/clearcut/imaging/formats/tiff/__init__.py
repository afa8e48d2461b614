"""TIFF 6.0: the first page."""

from .tiff import TIFF as TIFF
