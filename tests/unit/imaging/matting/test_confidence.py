"""The confidence: high for a matte with clear edges that follow the image, low for others."""

import cv2
import numpy as np

from clearcut.imaging.matting.confidence import certainty, estimate_iou, matte_facts


def scene(blur: float, shift: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A network's matte, the alpha and the image of a red square."""
    mask = np.zeros((320, 320), np.float32)
    mask[80:240, 80:240] = 1
    values = cv2.GaussianBlur(mask, (0, 0), blur)
    rgb = np.where(np.roll(mask, shift, 1)[..., None] > 0, np.uint8((200, 30, 20)), np.uint8((220, 220, 220)))
    return values, (values * 255).astype(np.uint8), rgb


def confidence(blur: float, shift: int = 0) -> float:
    return estimate_iou(matte_facts(*scene(blur, shift), plain_background=True))


def test_clear_matte_has_high_confidence() -> None:
    assert confidence(1) > 0.9


def test_soft_or_misplaced_matte_has_lower_confidence() -> None:
    assert confidence(25) < confidence(8) < confidence(1)
    assert confidence(1, shift=40) < confidence(1)


def test_confidence_stays_in_range() -> None:
    empty, full = np.zeros((32, 32), np.float32), np.ones((32, 32), np.float32)
    rgb = np.zeros((5, 900, 3), np.uint8)
    for values in (empty, full):
        alpha = np.full((5, 900), round(float(values[0, 0]) * 255), np.uint8)
        assert 0 <= estimate_iou(matte_facts(values, alpha, rgb, plain_background=False)) <= 1


def test_certainty_of_hard_values_is_one() -> None:
    assert certainty(np.eye(8, dtype=np.float32)) == 1
    assert certainty(np.zeros((4, 4), np.float32)) == 0
