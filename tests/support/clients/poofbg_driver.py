"""Runs inside a client's environment: makes the calls of a plan with the published client and prints the results.

``poofbg_driver.py PACKAGES PLAN`` reads a JSON list of steps and prints a JSON object by step name. It uses only the
standard library and the client, so it works with every version of the client.
"""

import io
import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import poof
from poof import Poof

ATTRIBUTES = (
    "content_type", "request_id", "processing_time_ms", "width", "height", "matte_confidence", "matte_ambiguous_ratio",
)  # fmt: skip


def call(client: Poof, step: dict, opened: list) -> object:
    if method := step.get("method"):
        return getattr(client, method)(*step.get("arguments", []), **step.get("options", {}))
    options = step.get("options", {})
    if "source" not in step:
        return client.remove_background(**options)
    source = step["source"]
    kind = step.get("kind", "str")
    if kind == "file":
        opened.append(open(source, "rb"))  # noqa: SIM115 - closed when the call is over
    image = {
        "str": lambda: source,
        "Path": lambda: Path(source),
        "bytes": lambda: Path(source).read_bytes(),
        "BytesIO": lambda: io.BytesIO(Path(source).read_bytes()),
        "file": lambda: opened[-1],
    }[kind]()
    return client.remove_background(image, **options)


def described(outcome: object, save_to: Path) -> dict:
    if not hasattr(outcome, "save"):
        return {"value": outcome}
    outcome.save(save_to)
    assert bytes(outcome) == outcome.data == save_to.read_bytes()
    assert len(outcome) == len(outcome.data)
    fields = {name: getattr(outcome, name) for name in ATTRIBUTES if hasattr(outcome, name)}
    return {"saved": str(save_to), "repr": repr(outcome), "type": type(outcome).__name__, **fields}


def main() -> None:
    steps = json.loads(Path(sys.argv[2]).read_text())
    results = {"version": poof.__version__}
    for step in steps:
        opened: list = []
        try:
            with Poof(api_key=step.get("api_key", "any-key"), base_url=step["base_url"]) as client:
                results[step["name"]] = described(call(client, step, opened), Path(step["save_to"]))
        except Exception as exc:
            fields = {
                name: getattr(exc, name, None) for name in ("code", "message", "details", "request_id", "status_code")
            }
            results[step["name"]] = {"raised": type(exc).__name__, "text": str(exc), **fields}
        finally:
            for file in opened:
                file.close()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
