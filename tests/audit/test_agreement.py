"""Agreement over the whole shared area: of copies high, of two things on one floor not."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from counterproof.audit.agreement import agreement, whole_placement
from counterproof.images import ImageFile

Pixels = NDArray[np.uint8]


def floor(ink: tuple[int, int, int], spot: int) -> Pixels:
    """A thing of some colour on a floor that is always the same."""
    rng = np.random.default_rng(1)
    picture = np.full((160, 200, 3), 120, np.uint8)
    for _ in range(120):
        x, y = (int(v) for v in rng.integers(0, 200, 2))
        shade = [int(v) for v in rng.integers(60, 200, 3)]
        cv2.rectangle(picture, (x, y), (x + 18, y + 12), shade, -1)
    cv2.ellipse(picture, (spot, 80), (55, 60), 0, 0, 360, ink, -1)
    return picture


def opened(picture: Pixels, quality: int = 90) -> ImageFile:
    data = cv2.imencode(".jpg", np.ascontiguousarray(picture), [1, quality])[1].tobytes()
    return ImageFile.open(data)


def compared(one: Pixels, other: Pixels, transform: str = "none", **options: Any) -> float:
    image, work = opened(one), opened(other)
    sizes = ((item.info.width, item.info.height) for item in (work, image))
    found = agreement(image, work, whole_placement(transform, *sizes), **options)
    assert found is not None
    return found


WORK = floor((40, 60, 200), 100)


@pytest.mark.parametrize(
    ("change", "transform"),
    [
        (lambda a: a, "none"),
        (lambda a: a[:, ::-1], "mirrored"),
        (lambda a: a[::-1, ::-1], "turned_180"),
        (lambda a: a[::-1], "mirrored_turned_180"),
        (lambda a: a.transpose(1, 0, 2), "transposed"),
        (lambda a: cv2.rotate(a, cv2.ROTATE_90_CLOCKWISE), "turned_90"),
        (lambda a: a[::-1, ::-1].transpose(1, 0, 2), "transversed"),
        (lambda a: cv2.rotate(a, cv2.ROTATE_90_COUNTERCLOCKWISE), "turned_270"),
        (lambda a: cv2.resize(a, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA), "none"),
        (lambda a: np.clip(a * [1.2, 0.9, 0.7] + 10, 0, 255).astype(np.uint8), "none"),
        (lambda a: cv2.cvtColor(cv2.cvtColor(a, 6), 8), "none"),
    ],
)
def test_a_copy_agrees(change: Any, transform: str) -> None:
    assert compared(change(WORK), WORK, transform) > 0.97


def test_a_placement_that_is_a_little_off_is_refined() -> None:
    height, width = WORK.shape[:2]
    cut = WORK[6 : height - 4, 3 : width - 7]
    assert compared(cut, WORK) > 0.97


def test_two_things_on_one_floor_do_not_agree() -> None:
    assert compared(floor((200, 180, 30), 104), WORK) < 0.9
    assert compared(floor((40, 60, 200), 60), WORK) < 0.9


def test_what_is_drawn_over_a_copy_can_be_spared() -> None:
    covered = WORK.copy()
    covered[:30] = (0, 255, 0)
    assert compared(covered, WORK) < 0.9
    assert compared(covered, WORK, spared=0.25) > 0.95
