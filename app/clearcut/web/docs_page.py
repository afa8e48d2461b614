"""The OpenAPI document as an HTML page, without scripts or external resources."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

BASE_URL = "{{base_url}}"
"""Placeholder in the page for the URL of this server, without a slash at its end."""

_LEAD_EXAMPLE = (
    f"curl --fail-with-body -F image_file=@photo.jpg -F crop=true -F format=jpg {BASE_URL}/v1/remove -o product.jpg"
)

STYLE = """
:root{color-scheme:light dark;--page:#fff;--panel:#fff;--sunken:#f5f6f8;--line:#e2e5ea;--text:#12161c;--muted:#566070;
--accent:#4353e0;--get:#0b6b4a;--post:#4353e0}
@media(prefers-color-scheme:dark){:root{--page:#0e1116;--panel:#151a21;--sunken:#0a0d11;--line:#29303a;--text:#eaeef3;
--muted:#a0abba;--accent:#a3adff;--get:#7fd8b2;--post:#a3adff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:64rem;padding:0 1.25rem 4rem;background:var(--page);color:var(--text);
font:15px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
header{display:flex;align-items:center;justify-content:space-between;padding:1rem 0;gap:1rem}
header a{font-weight:600}.brand{font-size:18px;font-weight:650;letter-spacing:-.01em}
a{color:var(--accent)}a:focus-visible,summary:focus-visible,pre:focus-visible{outline:2px solid var(--accent);
outline-offset:2px}
h1{font-size:2.2rem;line-height:1.15;letter-spacing:-.025em;margin:2rem 0 .5rem}
h2{font-size:1.3rem;letter-spacing:-.01em;margin:2.75rem 0 .75rem}
.lead,.muted{color:var(--muted)}.lead{font-size:17px;margin:0 0 1.5rem}
nav ul{display:flex;flex-wrap:wrap;gap:.4rem 1.1rem;list-style:none;padding:0;margin:1rem 0}
code,pre{font-family:ui-monospace,"SF Mono",Menlo,Consolas,monospace;font-size:13px}
code{background:var(--sunken);padding:.1em .35em;border-radius:5px;overflow-wrap:anywhere}
pre{background:var(--sunken);border:1px solid var(--line);border-radius:12px;padding:14px;margin:.6rem 0;
white-space:pre-wrap;overflow-wrap:anywhere}
details{border:1px solid var(--line);border-radius:14px;background:var(--panel);margin:.6rem 0}
summary{cursor:pointer;padding:.75rem 1rem;border-radius:14px}
summary code{background:none;font-size:14px;font-weight:600}
.body{padding:0 1rem 1rem;overflow-x:auto}
.verb{display:inline-block;min-width:3.2rem;font-weight:700;font-size:13px}.get{color:var(--get)}.post{color:var(--post)}
table{border-collapse:collapse;width:100%;margin:.8rem 0;font-size:14px}
th{font-weight:600;color:var(--muted)}
@media(min-width:48rem){td:first-child code{white-space:nowrap}}
@media(max-width:48rem){td{overflow-wrap:anywhere}}
th,td{text-align:left;vertical-align:top;padding:.45rem .8rem .45rem 0;border-bottom:1px solid var(--line)}
"""


def render(document: Mapping[str, Any]) -> str:
    """Return the page; it contains ``BASE_URL`` where an example needs the URL of the server.

    Args:
        document: OpenAPI 3.1, each operation with one tag.
    """
    by_tag: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            by_tag.setdefault(operation["tags"][0], []).append("".join(_operation(path, verb, operation)))
    sections = "".join(
        f'<section><h2 id="{_anchor(tag)}">{escape(tag)}</h2>{"".join(parts)}</section>'
        for tag, parts in by_tag.items()
    )
    links = "".join(f'<li><a href="#{_anchor(tag)}">{escape(tag)}</a></li>' for tag in by_tag)
    info = document["info"]
    title, version = escape(info["title"]), escape(info["version"])
    home = '<a href="./">Open the page</a>' if "/" in document["paths"] else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} API</title><style>{STYLE}</style></head><body>"
        f'<header><span class="brand">{title}</span>{home}</header><main>'
        f'<h1>{title} API</h1><p class="lead">{escape(info["summary"])}. Version {version}. '
        'For programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"<p>Crop to the subject, on a white background, as a JPEG:</p>{_code(_LEAD_EXAMPLE)}"
        '<p class="muted">Servers with accounts need a key: add <code>-H "X-API-Key: $CLEARCUT_API_KEY"</code>.</p>'
        f'<nav aria-label="APIs"><ul>{links}</ul></nav>{sections}</main></body></html>'
    )


def _operation(path: str, verb: str, operation: Mapping[str, Any]) -> Iterator[str]:
    opened = " open" if path == "/v1/remove" else ""
    yield (
        f'<details{opened}><summary><span class="verb {escape(verb)}">{verb.upper()}</span> '
        f'<code>{escape(path)}</code> <span class="muted">{_prose(operation["summary"])}</span></summary>'
        '<div class="body">'
    )
    if description := operation.get("description"):
        yield f"<p>{_prose(description)}</p>"
    bodies = operation.get("requestBody", {}).get("content", {})
    if example := _example(path, verb, operation):
        yield _code(example)
    if verb == "get" and "{" not in path and not _needs_url(operation):
        yield f'<p><a href="{escape(path.removeprefix("/") or "./")}">Try it</a></p>'
    if bodies:
        yield f"<p>Body: {', '.join(f'<code>{escape(kind)}</code>' for kind in bodies)}</p>"
        yield "<table><tr><th>Field<th>Values<th>Default<th>Meaning"
        for name, schema in _fields(next(iter(bodies.values()))["schema"]):
            yield (
                f"<tr><td><code>{escape(name)}</code><td>{_values(schema)}<td>{escape(str(schema.get('default', '')))}"
                f"<td>{_prose(schema.get('description', ''))}"
            )
        yield "</table>"
    yield "<table><tr><th>Status<th>Response"
    for status, response in operation["responses"].items():
        types = ", ".join(f"<code>{escape(kind)}</code>" for kind in response.get("content", {}))
        yield f"<tr><td>{status}<td>{_prose(response['description'])} {types}"
    yield "</table></div></details>"


def _fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the fields of an object with their schemas; members of inner objects as ``object.member``."""
    for name, member in schema["properties"].items():
        if "properties" in member:
            yield from _fields(member, f"{prefix}{name}.")
        else:
            yield prefix + name, member


def _needs_url(operation: Mapping[str, Any]) -> bool:
    """Return whether the operation processes the image at the query parameter ``url``."""
    parameters = operation.get("parameters", ())
    return any(each["in"] == "query" and each["name"] == "url" for each in parameters)


def _example(path: str, verb: str, operation: Mapping[str, Any]) -> str:
    """A curl command for an operation; empty if its path has parameters, or if it is the page for browsers."""
    if "{" in path or path == "/":
        return ""
    if verb == "get":
        if _needs_url(operation):
            return f'curl --fail-with-body "{BASE_URL}{path}?url=https://example.com/photo.jpg" -o cutout.png'
        return f"curl --fail-with-body {BASE_URL}{path}"
    bodies = operation.get("requestBody", {}).get("content", {})
    if form := bodies.get("multipart/form-data"):
        properties = form["schema"]["properties"]
        file = next((name for name, schema in properties.items() if schema.get("format") == "binary"), "")
        return _upload(path, file, operation["responses"]) if file else ""
    if body := bodies.get("application/json"):
        examples = body.get("example") or body["schema"].get("example")
        if examples:
            data = json.dumps(examples).replace("'", "'\\''")
            return f"curl --fail-with-body -H 'Content-Type: application/json' \\\n  -d '{data}' \\\n  {BASE_URL}{path}"
    return ""


def _upload(path: str, field: str, responses: Mapping[str, Any]) -> str:
    returns_image = any(kind.startswith("image/") for kind in responses.get("200", {}).get("content", {}))
    output = " -o cutout.png" if returns_image else ""
    return f"curl --fail-with-body -F {field}=@photo.jpg {BASE_URL}{path}{output}"


def _code(text: str) -> str:
    return f'<pre tabindex="0">{escape(text)}</pre>'


def _values(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("format") == "binary":
        return "a file"
    if "contentEncoding" in schema:
        return "a file in base64"
    if "minimum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    if "examples" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["examples"])
    return {"string": "text", "boolean": "<code>true</code>, <code>false</code>"}.get(schema.get("type", ""), "")


def _prose(text: str) -> str:
    """Text as HTML, with its `code` marked."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _anchor(tag: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", tag.lower()).strip("-")
