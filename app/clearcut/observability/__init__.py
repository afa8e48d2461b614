"""Metrics, request timing, tracing and logging."""
