"""The option ``input_alpha`` on /v1/remove, in other dialects, in the Python API and in the command.

The fake model takes bright pixels as the subject.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support import samples
from tests.support import transparent_images as images
from tests.support.cutouts import decoded
from tests.support.fakes import on_stage

DARK = images.cutout("rocket", 160, 120)
DARK[:, :, :3] //= 4  # the fake model finds nothing in it
DARK_FILE = samples.png(DARK)
WINDOW = samples.png(images.screenshot(160, 120))


def send(image: bytes, path: str = "/v1/remove", field: str = "image_file", **data: str):
    async def scenario(on):
        return await on.client.post(path, files={field: ("a.png", image, "image/png")}, data=data)

    return on_stage(scenario)


@pytest.mark.parametrize("option", [{}, {"input_alpha": "auto"}, {"input_alpha": "AUTO"}, {"input_alpha": "keep"}])
def test_cutout_is_returned_unchanged(option: dict[str, str]) -> None:
    response = send(DARK_FILE, **option)
    assert response.status_code == 200
    np.testing.assert_array_equal(decoded(response), DARK)
    assert "x-model" not in response.headers
    assert response.headers["x-foreground-found"] == "true"
    assert response.headers["x-matte-confidence"] == "1.00"
    assert response.headers["x-subject-facts"].endswith("plain-background=?1")
    again = send(response.content)
    assert again.content == response.content


def test_ignore_uses_the_model_alone() -> None:
    response = send(DARK_FILE, input_alpha="ignore", plain_background="off")
    assert response.headers["x-model"] == "fake"
    assert response.headers["x-foreground-found"] == "false"
    pixels = images.cutout("rocket", 160, 120)
    pixels[:, :, :3] = 250
    response = send(samples.png(pixels), input_alpha="ignore", plain_background="off")
    np.testing.assert_array_equal(decoded(response)[:, :, 3], 255)


def test_keep_applies_to_images_that_are_no_cutouts() -> None:
    window = images.screenshot(160, 120)
    np.testing.assert_array_equal(decoded(send(WINDOW, input_alpha="keep"))[:, :, 3], window[:, :, 3])
    kept, model = send(WINDOW, input_alpha="keep"), send(WINDOW)
    assert "x-model" not in kept.headers
    assert kept.headers["x-matte-confidence"] == "1.00"
    assert kept.headers["x-subject-facts"].endswith("plain-background=?0")
    assert model.headers["x-model"] == "fake"
    assert (decoded(model)[:, :, 3] <= window[:, :, 3]).all()


def test_opaque_input_ignores_the_option() -> None:
    data = samples.png(samples.photo("coffee", 80, 60))
    plain = send(data)
    for value in ("auto", "keep", "ignore"):
        assert send(data, input_alpha=value).content == plain.content


def test_options_of_model_are_unused_for_cutouts() -> None:
    fields = {"model": "fake", "plain_background": "off", "despill": "false"}
    assert send(DARK_FILE, **fields).headers["x-ignored-fields"] == "model, plain_background, despill"
    assert send(DARK_FILE, input_alpha="keep", **fields).headers["x-ignored-fields"] == (
        "model, plain_background, despill"
    )
    assert "x-ignored-fields" not in send(DARK_FILE, input_alpha="ignore", **fields).headers
    assert send(DARK_FILE, "/api/remove", "file", model="fake").headers["x-ignored-fields"] == "model"


@pytest.mark.parametrize("value", ["yes", "true", "1", "keep,ignore"])
def test_invalid_value_names_the_choices(value: str) -> None:
    response = send(DARK_FILE, input_alpha=value)
    assert response.status_code == 400
    assert "Invalid value for 'input_alpha'. Expected: auto, keep, ignore" in response.text


def test_other_options_apply_to_a_kept_matte() -> None:
    response = send(DARK_FILE, crop="true", channels="alpha")
    rows, columns = np.nonzero(DARK[:, :, 3] >= 10)
    expected = DARK[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, 3]
    np.testing.assert_array_equal(decoded(response), expected)


def test_variants_must_agree() -> None:
    different = json.dumps([{"input_alpha": "keep"}, {"input_alpha": "ignore"}])
    response = send(DARK_FILE, variants=different)
    assert response.status_code == 400
    assert "variants[1].input_alpha" in response.text
    assert send(DARK_FILE, variants=json.dumps([{}, {"size": "small"}]), input_alpha="keep").status_code == 200


@pytest.mark.parametrize("value", ["auto", "keep", "ignore"])
def test_mask_replaces_the_matte(value: str) -> None:
    mask = samples.png(np.full((120, 160), 255, np.uint8))

    async def scenario(on):
        files = {"image_file": ("a.png", DARK_FILE), "mask": ("m.png", mask)}
        return await on.client.post("/v1/remove", files=files, data={"input_alpha": value})

    response = on_stage(scenario)
    alpha = decoded(response)[:, :, 3]
    assert response.headers.get("x-ignored-fields") == ("input_alpha" if value == "keep" else None)
    np.testing.assert_array_equal(alpha, 255 if value == "ignore" else DARK[:, :, 3])


@pytest.mark.parametrize(
    ("path", "field"), [("/v1.0/removebg", "image_file"), ("/api/remove", "file"), ("/v1/segment", "image_file")]
)
def test_other_dialects_keep_cutouts(path: str, field: str) -> None:
    response = send(DARK_FILE, path, field, **({"size": "auto"} if path.startswith("/v1.0") else {}))
    assert response.status_code == 200
    np.testing.assert_array_equal(decoded(response), DARK)
