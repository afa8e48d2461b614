"""Runs with PyPI's removebg only: ``removebg_driver.py PACKAGES ENDPOINT PLAN`` makes the calls of a JSON plan.

Each step is ``[name, key, method, arguments]``. The output is a JSON object by name: "ok" or the status that was
raised.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import requests
from removebg import RemoveBg, removebg

removebg.API_ENDPOINT = sys.argv[2]


def main() -> None:
    outcomes = {}
    for name, key, method, arguments in json.loads(Path(sys.argv[3]).read_text()):
        try:
            getattr(RemoveBg(key, "errors.log"), method)(**arguments)
            outcomes[name] = "ok"
        except requests.HTTPError as exc:
            (error,) = exc.response.json()["errors"]
            outcomes[name] = [exc.response.status_code, error["code"]]
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
