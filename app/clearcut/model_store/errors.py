"""The error of a failed download."""

from __future__ import annotations


class DownloadError(Exception):
    """The download failed. The text gives the reason and contains no credentials."""
