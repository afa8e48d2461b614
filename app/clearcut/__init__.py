"""Clearcut: a photo in, a clean cut-out back, in one synchronous HTTP call."""

__version__ = "0.1.0"
