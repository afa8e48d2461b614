"""Image formats: one definition a format, listed in ``registry``, and the readers and writers that they use."""
