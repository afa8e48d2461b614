"""A sample of the hostile suite, and tests of its oracle."""

from __future__ import annotations

import itertools
import json
import random
from email.message import Message

import pytest

from tests.support import samples
from tests.support.hostile import corpus, http_messages
from tests.support.hostile.hostile_forms import all_forms
from tests.support.hostile.oracle import Oracle
from tests.support.raw_http import RawResponse

pytestmark = pytest.mark.live

FAMILIES = ("truncations", "mutations", "rearrangements", "wrong types", "polyglots", "lying sizes")


def test_sample_of_hostile_inputs_is_answered_correctly(server):
    oracle, rng = Oracle(server), random.Random(1)
    for family in FAMILIES:
        for index, item in enumerate(rng.sample(list(corpus.FILES[family]()), 6)):
            oracle.file(item, index + len(family))
    for each in rng.sample(list(all_forms()), 12):
        oracle.form(each, each.paths[0])
    for message in rng.sample(list(http_messages.all_messages()), 12):
        oracle.message(*message)
    for _ in itertools.islice(corpus.send_options(oracle), 12):
        pass
    oracle.check_server()
    assert oracle.failures == []
    assert sum(oracle.outcomes.values()) == 6 * len(FAMILIES) + 36
    assert set(oracle.outcomes) >= {"200", "400"}


def response(status=400, body=None, kind="application/json", **headers):
    created = Message()
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in ({"content-type": kind, "x-request-id": "hostile-1"} | extra).items():
        created[name] = value
    return RawResponse(status, created, body if isinstance(body, bytes) else json.dumps(body).encode())


POOF = {"code": "validation_error", "message": "m", "request_id": "hostile-1", "details": "Cannot read 'image_file'"}


@pytest.mark.parametrize(
    ("response", "path", "outcome", "seen"),
    [
        (response(body=POOF), "/v1/remove", "any", ""),
        (response(status=500, body=POOF), "/v1/remove", "any", "status 500"),
        (response(status=502, body=POOF), "/v1/remove", "any", "status 502"),
        (response(status=503, body=POOF), "/v1/remove", "any", "no Retry-After"),
        (response(status=503, body=POOF, retry_after="2"), "/v1/remove", "any", ""),
        (response(body=POOF), "/v1.0/removebg", "any", "wrong fields"),
        (response(body=POOF), "/api/remove", "any", "wrong fields"),
        (response(body=POOF, x_request_id="other"), "/v1/remove", "any", "request id"),
        (response(body=POOF | {"request_id": "hostile-2"}), "/v1/remove", "any", "another request's id"),
        (response(body=b"Internal Server Error", kind="text/plain"), "/v1/remove", "any", "content type"),
        (response(body=b"{"), "/v1/remove", "any", "not JSON"),
        (response(body=POOF | {"details": "no good"}), "/v1/remove", "any", "does not name 'image_file'"),
        (response(body=POOF | {"details": "image_file: Traceback"}), "/v1/remove", "any", "reveals internals"),
        (response(body=POOF), "/v1/remove", "good", "refused"),
        (response(200, b"\x89PNG", "image/png"), "/v1/remove", "any", "not an image"),
        (response(200, samples.png(samples.corners()), "image/png"), "/v1/remove", "bad", "served"),
        (response(200, samples.png(samples.corners()), "image/png"), "/v1/remove", "any", ""),
        (response(200, samples.png(samples.corners()), "image/jpeg"), "/v1/remove", "any", "announced as"),
        (
            response(200, samples.png(samples.corners()), "image/png", x_image_width="47", x_image_height="32"),
            "/v1/remove", "any", "announced as",
        ),
    ],
)  # fmt: skip
def test_oracle_detects_wrong_responses(response, path, outcome, seen):
    oracle = Oracle.__new__(Oracle)
    oracle._sent = 1
    found = oracle.wrong(response, path, outcome, "image_file")
    assert (found == "") if seen == "" else (seen in found), found


def test_corpora_are_large_and_reproducible():
    counts = {family: sum(1 for _ in make()) for family, make in corpus.FILES.items()}
    assert sum(counts.values()) + sum(1 for _ in all_forms()) + sum(1 for _ in http_messages.all_messages()) > 2500, (
        counts
    )
    for family in ("truncations", "mutations", "rearrangements"):
        first, again = (list(itertools.islice(corpus.FILES[family](), 200)) for _ in range(2))
        assert [(each.what, each.make()) for each in first] == [(each.what, each.make()) for each in again]
