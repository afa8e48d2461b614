"""Container formats: signatures, header limits, metadata and writers."""
