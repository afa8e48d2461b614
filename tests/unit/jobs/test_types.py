"""The data of a job: its stored JSON form, ids and charges."""

from __future__ import annotations

import json

import pytest

from clearcut.accounts.types import JOB_PREFIX
from clearcut.imaging.options import Length, Padding, RemoveOptions, Roi
from clearcut.jobs.types import (
    JobSpec,
    Outcome,
    idempotent_job_id,
    is_job_id,
    job_charge,
    message_id,
    new_charge_id,
    new_job_id,
    outcome_from_json,
    outcome_to_json,
    spec_from_json,
    spec_to_json,
)

OPTIONS = [
    RemoveOptions(),
    RemoveOptions(format="jpg", threshold=0.35, background=(1, 2, 3, 255), backdrop="blur"),
    RemoveOptions(
        crop=True, crop_ratio=(4, 3), padding=Padding(*4 * [Length(0.1, True)]), roi=Roi(*4 * [Length(5, False)])
    ),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_spec_round_trips_through_json(options):
    spec = JobSpec(
        dialect="apiframe", options=options, field="image", accepted=1.5, base="https://a.example", request_id="r",
        fingerprint="f", url="https://b.example/x.jpg?token=1", webhook="https://c.example/", account="abc", cost=1,
    )  # fmt: skip
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec
    assert "token" not in repr(spec)


def test_outcome_round_trips_through_json():
    for outcome in (
        Outcome(True, 2.5, 0.25, "key.png", "image/png", 10, 20, "passed"),
        Outcome(True, 2.5, 0.25, "key.png", "image/png", 10, 20, model="clearcut-m"),
        Outcome(False, 2.5, status=422, reason="moderation", message="no"),
    ):
        stored = json.loads(json.dumps(outcome_to_json(outcome)))
        assert outcome_from_json(stored) == outcome
        assert "ok" in stored, "workflows recognize an outcome by this field"


def test_job_id_depends_on_account_key_and_secret():
    secret, other = b"a secret of the tests", b"another secret"
    assert idempotent_job_id("a", "1", secret) == idempotent_job_id("a", "1", secret)
    inputs = [("a", "1", secret), ("b", "1", secret), ("a", "2", secret), ("a1", "", secret), ("a", "1", other)]
    assert len({idempotent_job_id(*each) for each in inputs}) == 5
    assert all(is_job_id(each) for each in (idempotent_job_id("a", "1", secret), new_job_id()))
    assert not is_job_id("../" + new_job_id())


def test_failure_and_later_success_have_different_ids():
    assert message_id("j", Outcome(True, 1.0)) == "j"
    assert message_id("j", Outcome(False, 1.0)) == message_id("j", Outcome(False, 2.0)) != "j"


def new_spec(**fields):
    return JobSpec(
        dialect="apiframe", options=RemoveOptions(), field="image", accepted=1.5, base="https://a.example",
        request_id="r", fingerprint="f", **fields,
    )  # fmt: skip


def test_job_charge_id_starts_with_the_job_prefix():
    for spec in (new_spec(account="abc", cost=1), new_spec(account="abc", cost=1, charge=new_charge_id())):
        charge = job_charge(new_job_id(), spec)
        assert (charge.id[0], len(charge.id), charge.cost) == (JOB_PREFIX, 32, 1)
    assert job_charge(new_job_id(), new_spec()) is None


def test_each_accepted_job_has_its_own_charge():
    job = new_job_id()
    first, second = (new_spec(account="abc", cost=1, charge=new_charge_id()) for _ in range(2))
    assert job_charge(job, first) == job_charge(job, first)
    assert job_charge(job, first).id != job_charge(job, second).id
