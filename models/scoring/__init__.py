"""Scores of mattes and models, shared by ``benchmarks`` and ``models.training``. Needs no torch and no server."""
