"""Pure picture work on arrays: no HTTP, no files, no settings, no clocks."""
