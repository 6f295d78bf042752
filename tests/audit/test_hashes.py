"""Hashes: the same as their libraries', stable, and blind to nothing but detail."""

import io
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from scipy.fft import dctn

from counterproof.audit.hashes import DCT256, DHASH, PHASH, HashAnalyzer, dct256, detail, square
from counterproof.errors import ImageError
from counterproof.findings import Fact
from counterproof.images import ImageFile
from counterproof.settings import Settings


def scene(seed: int = 0, size: tuple[int, int] = (400, 300)) -> Image.Image:
    """Smooth random shapes, no two seeds alike."""
    grid = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def encode(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def hashes(data: bytes) -> dict[str, Any]:
    found = list(HashAnalyzer(Settings(home=Path())).analyze(ImageFile.open(data)))
    assert all(isinstance(item, Fact) for item in found)
    return {item.name: item.value for item in found if isinstance(item, Fact)}


def distance(one: dict[str, Any], other: dict[str, Any], name: str) -> int:
    return (int(one[name]["value"], 16) ^ int(other[name]["value"], 16)).bit_count()


def test_names_and_lengths() -> None:
    found = hashes(encode(scene()))
    assert {name: value["alg"] for name, value in found.items() if name != "hash.detail"} == {
        "hash.phash": PHASH,
        "hash.dhash": DHASH,
        "hash.dct256": DCT256,
    }
    assert [len(found[f"hash.{name}"]["value"]) for name in ("phash", "dhash", "dct256")] == [
        16,
        16,
        64,
    ]


def test_hashes_of_a_small_picture_are_imagehash_s() -> None:
    for seed in range(5):
        picture = scene(seed, (120, 90)).convert("L")
        found = hashes(encode(picture))
        assert found["hash.phash"]["value"] == str(imagehash.phash(picture))
        assert found["hash.dhash"]["value"] == str(imagehash.dhash(picture))


def test_a_scaled_decode_moves_phash_by_a_few_bits_at_most() -> None:
    for seed in range(20):
        picture = scene(seed, (1_600, 1_200))
        full = str(imagehash.phash(picture))
        found = hashes(encode(picture, "JPEG", quality=85))
        assert (int(found["hash.phash"]["value"], 16) ^ int(full, 16)).bit_count() <= 4


def test_dct256_is_as_documented() -> None:
    grey = square(np.asarray(scene(3).convert("L")))
    low = dctn(grey, type=2)[1:17, 1:17]
    bits = (low > np.median(low)).ravel()
    expected = f"{int(''.join('1' if bit else '0' for bit in bits), 2):064x}"
    assert dct256(grey) == expected
    assert bits.sum() == 128


def test_a_fixed_picture_keeps_its_hashes() -> None:
    """A change here is a change of the algorithm: give it another name."""
    y, x = np.mgrid[0:96, 0:128]
    value = (x * 7 + y * 5 + (x * y) // 9 + 40 * ((x // 16 + y // 12) % 2)) % 256
    found = hashes(encode(Image.fromarray(value.astype(np.uint8))))
    assert found == GOLDEN


GOLDEN: dict[str, Any] = {
    "hash.phash": {"alg": PHASH, "value": "f27cfc9a00b4a8ae"},
    "hash.dhash": {"alg": DHASH, "value": "ad520f8ccd4b4ab5"},
    "hash.dct256": {
        "alg": DCT256,
        "value": "e8c7b83f14d2002f08fe51f055c7018c559911327b6deb6bd156abd58a6b9ad3",
    },
    "hash.detail": 37.34,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_formats_agree(kind: str) -> None:
    one, other = hashes(encode(scene(5))), hashes(encode(scene(5), kind))
    assert distance(one, other, "hash.phash") <= 4
    assert distance(one, other, "hash.dct256") <= 24


def test_orientation_is_applied_before_hashing() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    turned = scene(8).transpose(Image.Transpose.ROTATE_90)
    one = hashes(encode(scene(8), "JPEG", quality=95))
    other = hashes(encode(turned, "JPEG", quality=95, exif=tags))
    assert distance(one, other, "hash.dct256") <= 8


def test_small_changes_move_few_bits_and_other_pictures_many() -> None:
    original = hashes(encode(scene(1)))
    for picture in (
        scene(1).resize((100, 75)),
        scene(1).filter(ImageFilter.GaussianBlur(1.5)),
        scene(1).convert("L"),
        ImageEnhance.Brightness(scene(1)).enhance(0.7),
    ):
        changed = hashes(encode(picture, "JPEG", quality=50))
        assert distance(original, changed, "hash.phash") <= 6
        assert distance(original, changed, "hash.dct256") <= 24
    for seed in range(2, 12):
        other = hashes(encode(scene(seed)))
        assert distance(original, other, "hash.dct256") > 70


def test_detail_tells_even_surfaces_from_pictures() -> None:
    even = np.full((64, 64), 77.0)
    assert detail(even) == 0
    sky = np.tile(np.linspace(150, 200, 64)[:, None], (1, 64))
    assert detail(sky) < 0.5
    assert detail(square(np.asarray(scene().convert("L")))) > 2
    found = hashes(encode(Image.new("RGB", (300, 200), "white")))
    assert found["hash.detail"] == 0
    assert len(found["hash.dct256"]["value"]) == 64


def test_a_picture_of_one_pixel() -> None:
    assert hashes(encode(Image.new("L", (1, 1))))["hash.detail"] == 0


def test_what_cannot_be_decoded_is_not_hashed() -> None:
    with pytest.raises(ImageError):
        hashes(encode(scene())[:500])
