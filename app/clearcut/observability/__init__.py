"""Metrics, request timing, traces and logging."""
