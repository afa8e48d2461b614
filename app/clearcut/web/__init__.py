"""The HTTP interface: the application, its middleware and one module for each API in ``apis/``."""
