"""Image processing on arrays: pure functions without HTTP, file access, settings or clocks."""
