"""``accounts.pricing`` sets the price of synchronous requests and of jobs."""

from __future__ import annotations

import pytest

from clearcut.accounts import pricing
from clearcut.accounts.keys import Quotas, parse_key_id
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from tests.support.cutouts import sample_image
from tests.support.fakes import Stage, on_stage, until


@pytest.mark.parametrize("price", [1, 3])
def test_one_function_prices_requests_and_jobs(tmp_path, monkeypatch, price):
    if price != 1:
        monkeypatch.setattr(pricing, "request_price", lambda account: price if account is not None else 0)
    database = f"sqlite:///{tmp_path}/accounts.db"
    ledger = Ledger(open_engine(database, 1), 60)
    requests_key, jobs_key = (ledger.create(name, "prepaid", 3, Quotas()) for name in ("requests", "jobs"))

    async def scenario(on: Stage) -> tuple[str, list[int]]:
        image = {"image_file": ("photo.png", sample_image(), "image/png")}
        response = await on.client.post("/v1/remove", files=image, headers={"x-api-key": requests_key})
        headers = {"authorization": f"Bearer {jobs_key}"}
        responses = [await on.client.post("/api/v1/remove-bg", files=image, headers=headers) for _ in range(4)]
        statuses = [accepted.status_code for accepted in responses]
        await until(lambda: on.service.jobs.finished_jobs == statuses.count(202), 60)
        return response.headers["x-credits-charged"], statuses

    try:
        charged, statuses = on_stage(scenario, database_url=database, jobs="sqlite", data_dir=str(tmp_path / "data"))
        used = [ledger.usage(parse_key_id(key)).used for key in (requests_key, jobs_key)]
    finally:
        ledger.close()
    assert charged == str(price)
    assert statuses == [202] * (3 // price) + [402] * (4 - 3 // price)
    assert used == [price, 3]
