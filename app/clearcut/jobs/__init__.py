"""Asynchronous jobs: accepted now, processed later, reported by a webhook."""
