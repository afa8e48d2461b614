"""Clearcut: self-hosted background removal over HTTP."""

__version__ = "0.1.0"
