"""One module for each API (dialect)."""
