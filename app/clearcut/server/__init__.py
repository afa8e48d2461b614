"""The HTTP server process: uvicorn, signals, limits of the HTTP protocol."""
