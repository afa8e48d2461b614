"""One module for each dialect. ``poof`` is the service's own API: ``/v1/remove`` and ``/v1/me``."""
