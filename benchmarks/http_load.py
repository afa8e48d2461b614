"""Load a running server at a constant arrival rate or with a constant number of concurrent requests.

    python -m benchmarks.http_load http://127.0.0.1:8080/v1/remove photo.jpg --rate 20 --seconds 30
    python -m benchmarks.http_load http://127.0.0.1:8080/v1/remove photo.jpg --at-once 8 --key clc_…

With ``--rate`` each request is timed from its scheduled start, so that a slow server cannot hide its delays (see
``load.py``). Prints JSON: rate, percentiles, statuses, refusals with their Retry-After.
"""

from __future__ import annotations

import argparse
import json
import mimetypes
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.load import Load, Target, closed, form_target, opened

SHARES = (50, 90, 95, 99, 99.9)


def summarize(load: Load) -> dict[str, object]:
    figures: dict[str, object] = {
        "seconds": round(load.seconds, 2),
        "images_per_s": round(load.rate, 2),
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
        "mb_out": round(load.bytes_out / 1e6, 2),
    }
    if load.latencies:
        figures |= {f"p{share:g}_ms": round(1000 * load.percentile(share / 100), 1) for share in SHARES}
    if load.refusals:
        figures["refusal_p95_ms"] = round(1000 * sorted(s for s, _ in load.refusals)[int(0.95 * len(load.refusals))], 1)
        figures["retry_after_s"] = sorted({retry for _, retry in load.refusals})
    return figures


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="http://host:port/path")
    parser.add_argument("images", nargs="+", type=Path)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--rate", type=float, help="requests per second, independent of the responses")
    how.add_argument("--at-once", type=int, help="so many clients, each sending its next when the last is answered")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--key", help="sent as X-Api-Key")
    parser.add_argument("--form", metavar="FIELD", help="send multipart/form-data with the image in FIELD")
    args = parser.parse_args(argv)
    parts = urlsplit(args.url)
    if parts.scheme != "http" or not parts.hostname:
        parser.error("url: http://host:port/path")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if args.form:
        target = form_target(parts.hostname, parts.port or 80, path, args.form, {})
    else:
        kind = mimetypes.guess_type(args.images[0])[0] or "application/octet-stream"
        target = Target(parts.hostname, parts.port or 80, path, kind)
    if args.key:
        target = replace(target, headers=(("X-Api-Key", args.key),))
    images = [image.read_bytes() for image in args.images]
    if args.rate:
        load = opened(target, images, args.rate, args.seconds)
    else:
        load = closed(target, images, args.at_once, args.seconds)
    print(json.dumps(summarize(load), indent=2))
    return 0 if set(load.statuses) == {200} else 1


if __name__ == "__main__":
    raise SystemExit(main())
