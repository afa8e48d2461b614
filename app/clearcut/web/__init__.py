"""HTTP: the only room that imports starlette. One file a dialect."""
