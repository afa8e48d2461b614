"""What ``clearcut serve`` prints on a terminal: that it starts, and then how to use and stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clearcut import __version__
from clearcut.settings import Settings

from .health import reachable_url
from .terminal import print_output

STARTING = f"Clearcut {__version__} is starting: it loads, measures and checks the model. This takes a few seconds."


def ready_text(settings: Settings, port: int, model: Mapping[str, object]) -> str:
    """Return the text for a service that accepts requests.

    Args:
        port: that the service listens on.
        model: its labels, see ``ServedModel.labels``.
    """
    url = reachable_url(settings.host, port)
    key = '-H "X-API-Key: $CLEARCUT_API_KEY" ' if settings.database_url and not settings.allow_anonymous else ""
    lines = {
        "Page": f"{url}/" if settings.playground else "off (CLEARCUT_PLAYGROUND)",
        "API": f"{url}/docs",
        "Try it": f"curl --fail-with-body {key}-F image_file=@photo.jpg {url}/v1/remove -o cutout.png",
        "Stop": "press Ctrl-C",
    }
    rows = "\n".join(f"  {name:<8}{text}" for name, text in lines.items())
    title = f"Clearcut {__version__} is ready: {model['name']} ({model['precision']}) on {model['device']}"
    return f"\n{title}\n\n{rows}\n"


def banner_printer(settings: Settings) -> Callable[[int, Mapping[str, object]], None]:
    """Print that the service starts; return a function that prints ``ready_text``."""
    print_output(STARTING, flush=True)

    def print_ready(port: int, model: Mapping[str, object]) -> None:
        print_output(ready_text(settings, port, model), flush=True)

    return print_ready
