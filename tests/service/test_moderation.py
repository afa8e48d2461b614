"""Moderation on ``/v1/remove``: by option, with a header, and without a charge for a refused image."""

from __future__ import annotations

import pytest

from clearcut.accounts.keys import Quotas, parse_key_id
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from tests.support.cutouts import sample_image
from tests.support.fakes import Stage, on_stage
from tests.support.moderation_models import install_moderation

PHOTOS = {"bright": sample_image(background=(255, 255, 255)), "dark": sample_image(background=(0, 0, 0))}


@pytest.fixture
def moderated(tmp_path):
    """Send photos to a service with accounts and a classifier; return the responses and the used credits."""
    install_moderation(tmp_path)
    url = f"sqlite:///{tmp_path}/accounts.db"
    ledger = Ledger(open_engine(url, 1), 60)
    key = ledger.create("moderated", "prepaid", 100, Quotas())

    def run(*requests: tuple[str, dict[str, str]], **environ: str):
        async def scenario(on: Stage):
            responses = []
            for name, fields in requests:
                files, headers = {"image_file": ("a.png", PHOTOS[name])}, {"x-api-key": key}
                responses.append(await on.client.post("/v1/remove", files=files, data=fields, headers=headers))
            return responses, (await on.client.get("/metrics")).text

        responses, metrics = on_stage(scenario, database_url=url, model_dir=str(tmp_path), **environ)
        return responses, ledger.usage(parse_key_id(key)).used, metrics

    return run


def test_refused_image_costs_nothing(moderated):
    (refused, passed, unasked), used, metrics = moderated(
        ("bright", {"moderation": "true"}), ("dark", {"moderation": "true"}), ("bright", {})
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "content_moderation")
    assert refused.json()["details"] == "The image was refused by content moderation: bright"
    assert refused.headers["x-request-id"] == refused.json()["request_id"]
    assert refused.headers.get("x-credits-charged", "0") == "0"
    assert "x-model" not in refused.headers
    assert (passed.status_code, passed.headers["x-moderation"], passed.headers["x-model"]) == (200, "passed", "fake")
    assert unasked.status_code == 200
    assert "x-moderation" not in unasked.headers
    assert [each.headers["x-credits-charged"] for each in (passed, unasked)] == ["1", "1"]
    assert used == 2
    assert 'clearcut_charges_total{outcome="released"} 1.0' in metrics


def test_limits_are_a_setting(moderated):
    (bright, dark), used, _ = moderated(
        ("bright", {"moderation": "true"}), ("dark", {"moderation": "true"}), moderation_limits="dark=0.5"
    )
    assert (bright.status_code, dark.status_code, used) == (200, 422, 1)
    assert dark.json()["details"].endswith("dark")


def test_without_classifier_moderation_is_not_run():
    async def scenario(on: Stage):
        return await on.client.post(
            "/v1/remove", files={"image_file": ("a.png", PHOTOS["bright"])}, data={"moderation": "true"}
        )

    response = on_stage(scenario)
    assert (response.status_code, response.headers["x-moderation"]) == (200, "not run")


def test_variant_cannot_ask_for_moderation():
    async def scenario(on: Stage):
        data = {"variants": '[{"moderation": true}]'}
        return await on.client.post("/v1/remove", files={"image_file": ("a.png", PHOTOS["dark"])}, data=data)

    response = on_stage(scenario)
    assert response.status_code == 400
    assert "'variants[0].moderation'" in response.json()["details"]
