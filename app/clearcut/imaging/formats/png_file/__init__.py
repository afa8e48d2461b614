"""The structure of PNG files: reading, repairing and writing it."""
