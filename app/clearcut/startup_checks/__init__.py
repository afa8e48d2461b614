"""Start-up checks of ``serve`` and ``check``; ``checks.py`` contains the list."""
