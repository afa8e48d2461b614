"""Jobs that an earlier version accepted finish under this version (``tests/fixtures/jobs_93f6627``)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clearcut.jobs.types import outcome_from_json, outcome_to_json, spec_from_json, spec_to_json
from tests.support.callback_server import PHOTO, CallbackServer, callback_server
from tests.support.fakes import Stage, on_stage, until

FIXTURE = Path(__file__).parents[1] / "fixtures" / "jobs_93f6627"
STORED = json.loads((FIXTURE / "jobs.json").read_text())
FINISHED = {
    "COMPLETED": True, "FAILED": False, "success": True, "error": False, "completed": True, "failed": False,
}  # fmt: skip
"""Final states of the three APIs: whether the job succeeded."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy the fixture; a checkout does not keep the modification times, which are when the files expire."""
    copy = Path(shutil.copytree(FIXTURE, tmp_path / "service"))
    for blob in (copy / "data" / "blobs").glob("*/*"):
        expires_at = json.loads(blob.read_bytes().partition(b"\n")[0])[2]
        os.utime(blob, (expires_at, expires_at))
    return copy


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the clock to one hour after the fixture was made, so that nothing in it has expired."""
    now = time.time
    offset = STORED["made_at"] + 3600 - now()
    monkeypatch.setattr(time, "time", lambda: now() + offset)


def replace_origin(database: Path, origin: str) -> None:
    """Replace the origin of image and webhook URLs in all stored jobs."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in (("workflow_input", "inputs"), ("operation_outputs", "output")):
            connection.execute(f"update {table} set {column} = replace({column}, ?, ?)", (STORED["origin"], origin))


def output_url(body: dict[str, Any]) -> str | None:
    if result := body.get("result"):
        return result["images"][0]
    return body.get("outputUrl") or body.get("output")


async def finished_jobs(on: Stage, receiver: CallbackServer) -> dict[str, dict[str, Any]]:
    """Wait for every job and every outstanding webhook; return the responses by name of the job."""
    outstanding = {job["webhook"] for job in STORED["jobs"] if job["webhook"] and not job["webhook_sent"]}
    headers = {"x-api-key": STORED["key"]}
    await until(lambda: outstanding <= {path for path, _, _ in receiver.calls}, 60)
    bodies = {}
    for job in STORED["jobs"]:
        for _ in range(200):
            response = await on.client.get(job["path"], headers=headers)
            assert response.status_code == 200, response.text
            bodies[job["name"]] = response.json()
            if bodies[job["name"]]["status"] in FINISHED:
                break
            await asyncio.sleep(0.1)
    return bodies


def test_stored_jobs_finish(folder: Path, clock: None) -> None:
    with callback_server(**{"wait.jpg": PHOTO}) as receiver:
        replace_origin(folder / "data" / "jobs.db", receiver.base_url)

        async def scenario(on: Stage) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
            bodies = await finished_jobs(on, receiver)
            urls = {name: url for name, body in bodies.items() if (url := output_url(body)) is not None}
            return bodies, {name: (await on.client.get(url)).status_code for name, url in urls.items()}

        bodies, outputs = on_stage(
            scenario, jobs="sqlite", data_dir=str(folder / "data"), database_url=f"sqlite:///{folder}/accounts.db",
            fetch_allow=receiver.allow, blob_ttl_s=str(30 * 86_400),
        )  # fmt: skip
        webhooks = Counter(path for path, _, _ in receiver.calls)
    succeeded = {job["name"]: job["succeeds"] for job in STORED["jobs"]}
    assert {name: FINISHED.get(body["status"]) for name, body in bodies.items()} == succeeded
    assert outputs == {name: 200 for name, ok in succeeded.items() if ok}
    assert webhooks == {job["webhook"]: 1 for job in STORED["jobs"] if job["webhook"] and not job["webhook_sent"]}
    with closing(sqlite3.connect(folder / "accounts.db")) as accounts:
        charges = dict(accounts.execute("select state, count(*) from charges group by state").fetchall())
    assert charges == {"charged": sum(succeeded.values()), "released": len(succeeded) - sum(succeeded.values())}


def test_stored_jobs_keep_every_field() -> None:
    query = "select s.name, i.inputs from workflow_input i join workflow_status s using (workflow_uuid)"
    with closing(sqlite3.connect(f"file:{FIXTURE}/data/jobs.db?mode=ro&immutable=1", uri=True)) as connection:
        rows = connection.execute(query).fetchall()
    assert len(rows) == 35
    for name, inputs in rows:
        arguments = json.loads(inputs)["positionalArgs"]
        spec, outcome = (arguments[0], None) if name == "job" else arguments[1:]
        assert spec_to_json(spec_from_json(spec)) == spec
        assert outcome is None or outcome_to_json(outcome_from_json(outcome)) == outcome
