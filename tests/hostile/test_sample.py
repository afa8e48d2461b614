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
from tests.support.wire import Answer

pytestmark = pytest.mark.live

FAMILIES = ("truncations", "mutations", "rearrangements", "wrong types", "polyglots", "lying sizes")


def test_sample_of_hostile_inputs_is_answered_correctly(server):
    oracle, rng = Oracle(server), random.Random(1)
    for family in FAMILIES:
        for turn, item in enumerate(rng.sample(list(corpus.FILES[family]()), 6)):
            oracle.file(item, turn + len(family))
    for each in rng.sample(list(all_forms()), 12):
        oracle.form(each, each.paths[0])
    for message in rng.sample(list(http_messages.all_messages()), 12):
        oracle.message(*message)
    for _ in itertools.islice(corpus.send_options(oracle), 12):
        pass
    oracle.still_well()
    assert oracle.faults == []
    assert sum(oracle.outcomes.values()) == 6 * len(FAMILIES) + 36
    assert set(oracle.outcomes) >= {"200", "400"}


def answer(status=400, body=None, kind="application/json", **headers):
    made = Message()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in ({"content-type": kind, "x-request-id": "hostile-1"} | given).items():
        made[name] = value
    return Answer(status, made, body if isinstance(body, bytes) else json.dumps(body).encode())


POOF = {"code": "validation_error", "message": "m", "request_id": "hostile-1", "details": "Cannot read 'image_file'"}


@pytest.mark.parametrize(
    ("given", "path", "outcome", "seen"),
    [
        (answer(body=POOF), "/v1/remove", "any", ""),
        (answer(status=500, body=POOF), "/v1/remove", "any", "status 500"),
        (answer(status=502, body=POOF), "/v1/remove", "any", "status 502"),
        (answer(status=503, body=POOF), "/v1/remove", "any", "no Retry-After"),
        (answer(status=503, body=POOF, retry_after="2"), "/v1/remove", "any", ""),
        (answer(body=POOF), "/v1.0/removebg", "any", "another dialect"),
        (answer(body=POOF), "/api/remove", "any", "another dialect"),
        (answer(body=POOF, x_request_id="other"), "/v1/remove", "any", "request id"),
        (answer(body=POOF | {"request_id": "hostile-2"}), "/v1/remove", "any", "another request's id"),
        (answer(body=b"Internal Server Error", kind="text/plain"), "/v1/remove", "any", "content type"),
        (answer(body=b"{"), "/v1/remove", "any", "not JSON"),
        (answer(body=POOF | {"details": "no good"}), "/v1/remove", "any", "does not name 'image_file'"),
        (answer(body=POOF | {"details": "image_file: Traceback in decode"}), "/v1/remove", "any", "says too much"),
        (answer(body=POOF), "/v1/remove", "good", "refused"),
        (answer(200, b"\x89PNG", "image/png"), "/v1/remove", "any", "not a picture"),
        (answer(200, samples.png(samples.corners()), "image/png"), "/v1/remove", "bad", "served"),
        (answer(200, samples.png(samples.corners()), "image/png"), "/v1/remove", "any", ""),
        (answer(200, samples.png(samples.corners()), "image/jpeg"), "/v1/remove", "any", "announced as"),
        (
            answer(200, samples.png(samples.corners()), "image/png", x_image_width="47", x_image_height="32"),
            "/v1/remove", "any", "announced as",
        ),
    ],
)  # fmt: skip
def test_oracle_detects_wrong_responses(given, path, outcome, seen):
    oracle = Oracle.__new__(Oracle)
    oracle._sent = 1
    found = oracle.wrong(given, path, outcome, "image_file")
    assert (found == "") if seen == "" else (seen in found), found


def test_corpora_are_large_and_reproducible():
    counts = {family: sum(1 for _ in make()) for family, make in corpus.FILES.items()}
    assert sum(counts.values()) + sum(1 for _ in all_forms()) + sum(1 for _ in http_messages.all_messages()) > 2500, (
        counts
    )
    for family in ("truncations", "mutations", "rearrangements"):
        first, again = (list(itertools.islice(corpus.FILES[family](), 200)) for _ in range(2))
        assert [(each.what, each.make()) for each in first] == [(each.what, each.make()) for each in again]
