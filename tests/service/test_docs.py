"""The OpenAPI document and its page are valid and complete."""

import html
import re

import jsonschema_rs
import pytest

from clearcut.errors import ClearcutError
from clearcut.web.app import DIALECTS, create_app
from tests.support.fakes import BrightIsSubject, Stage, on_stage, serving
from tests.tools.readme import _classes


def get(path):
    async def scenario(on: Stage):
        return await on.client.get(path)

    return on_stage(scenario, start=False)


@pytest.mark.parametrize("url", ["https://example.com/cutout", "https://example.com/cutout/"])
def test_examples_have_the_path_prefix_of_the_public_url(url):
    async def scenario(on: Stage):
        return await on.client.get("/docs")

    page = on_stage(scenario, start=False, public_url=url).text
    assert "https://example.com/cutout/v1/remove -o cutout.png" in page
    assert "http://clearcut/v1/remove -o" in get("/docs").text


def test_document_has_exactly_the_routes():
    app = create_app(serving(BrightIsSubject())).app
    routes = {(route.path, method) for route in app.routes for method in route.methods - {"HEAD"}}
    described = {(path, verb.upper()) for path, item in get("/openapi.json").json()["paths"].items() for verb in item}
    assert described == routes - {("/docs/", "GET")}  # a redirect


def test_schemas_and_references_are_valid():
    whole = get("/openapi.json").json()
    assert whole["openapi"] == "3.1.0"
    for schema in whole["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    for reference in re.findall(r'"#/components/schemas/(\w+)"', get("/openapi.json").text):
        assert reference in whole["components"]["schemas"]
    for item in whole["paths"].values():
        for operation in item.values():
            for body in operation.get("requestBody", {}).get("content", {}).values():
                jsonschema_rs.meta.validate(body["schema"])


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_error_bodies_match_their_schemas(dialect):
    for kind in _classes(ClearcutError):
        error = kind.__new__(kind)
        ClearcutError.__init__(error, "Something about it", option="size")
        vars(error).update(expected="a size", field="size", problem="no response", detected="TIFF", accepted="PNG")
        jsonschema_rs.validate(dialect.error_schema, dialect.error_body(error, "req_1"))


def test_choices_match_the_parsers():
    fields = get("/openapi.json").json()["paths"]["/v1.0/removebg"]["post"]["requestBody"]["content"]
    sizes = fields["multipart/form-data"]["schema"]["properties"]["size"]
    assert sizes["default"] == "preview"
    assert {"preview", "full", "4k", "50mp"} <= set(sizes["enum"])
    assert True in fields["application/json"]["schema"]["properties"]["crop"]["enum"]


def test_docs_page_shows_routes_and_loads_nothing():
    response = get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    for path in get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in response.text
    assert not re.search(r"<script|src=|<link|@import|url\(|(?:href|action)=\"?https?:", response.text)


def test_docs_page_shows_examples_and_links():
    response = get("/docs")
    assert "curl --fail-with-body -F image_file=@photo.jpg http://clearcut/v1/remove -o cutout.png" in response.text
    assert "curl --fail-with-body -F file=@photo.jpg http://clearcut/api/remove -o cutout.png" in response.text
    assert '<a href="v1/info">Try it</a>' in response.text
    assert '<a href="./">Open the page</a>' in response.text
    assert "{{" not in response.text


def test_docs_page_examples_work_as_shown():
    page = html.unescape(get("/docs").text)
    commands = re.findall(r"curl --fail-with-body [^<]*", page)
    assert "curl --fail-with-body -F image_file=@photo.jpg http://clearcut/api/v1/remove-bg" in commands
    assert "curl --fail-with-body -F image_file=@photo.jpg http://clearcut/v1.0/improve" in commands
    assert (
        'curl --fail-with-body "http://clearcut/api/remove?url=https://example.com/photo.jpg" -o cutout.png' in commands
    )
    assert "curl --fail-with-body http://clearcut/" not in commands
    assert 'href="api/remove"' not in page
    assert "Create a job that removes a background, where CLEARCUT_JOBS is on" in page


def test_docs_page_describes_all_fields():
    page = get("/docs").text
    for name in ("lab851BgRemoveParams.image", "briaBgRemoveParams.content_moderation", "input.image_url"):
        assert f"<code>{name}</code>" in page
    fields = re.findall(r"<tr><td><code>([^<]*)</code><td>(.*?)<td>[^<]*<td>([^\n]*?)(?=<tr>|</table>)", page)
    assert len(fields) > 40
    assert [name for name, _, meaning in fields if not meaning] == []
    assert {name for name, values, _ in fields if not values} <= {"extras", "size", "variants"}
