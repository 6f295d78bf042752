"""A second reader, written from docs/watermark.md alone: the page says enough to read our marks.

It shares no code with the package: it takes constants from the page's own tables, reads whole
or resized copies, finds the lines of the pilots, and solves for the message rather than running
a Viterbi search.
"""

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from counterproof.provenance.watermark import Payload, embed

PAGE = (Path(__file__).parents[2] / "docs" / "watermark.md").read_text(encoding="utf-8")
FULL = {"id": b"counterproof.chip384.1", "chips": 384, "payload": 7, "tag": 6}
SMALL = {"id": b"counterproof.chip64.1", "chips": 64, "payload": 2, "tag": 3}
Array = NDArray[Any]
PUBLIC = b"counterproof public profile"
TAPS = [0o46321, 0o51271, 0o70535, 0o63667, 0o73277, 0o76513]


def block(name: str) -> dict[str, str]:
    """Read one of the page's blocks of test vectors: lines of a name and a value."""
    found = re.search(rf"```text {name}\n(.*?)```", PAGE, re.S)
    assert found, name
    return dict(line.split(maxsplit=1) for line in found[1].strip().splitlines())


def hkdf(secret: bytes, profile: dict[str, Any], purpose: str) -> bytes:
    extracted = hmac.digest(profile["id"], secret, "sha256")
    return hmac.digest(extracted, purpose.encode() + b"\1", "sha256")


def stream(secret: bytes, profile: dict[str, Any], purpose: str, count: int) -> NDArray[np.uint8]:
    data = hashlib.shake_256(hkdf(secret, profile, purpose)).digest(count)
    return np.frombuffer(data, np.uint8)


def layout(secret: bytes, profile: dict[str, Any]) -> tuple[Array, Array]:
    n, code = profile["chips"], 48 * (profile["payload"] + profile["tag"])
    words = stream(secret, profile, "order", 4 * n * n).view(">u4").reshape(-1, 1024)
    bits = np.empty((n, n), int)
    for cell, values in enumerate(words):
        rank = np.empty(1024, int)
        rank[np.argsort(values, kind="stable")] = np.arange(1024)
        row, column = divmod(cell, n // 32)
        part = ((1024 * cell + rank) % code).reshape(32, 32)
        bits[32 * row : 32 * row + 32, 32 * column : 32 * column + 32] = part
    signs = 1 - 2 * np.unpackbits(stream(secret, profile, "signs", n * n // 8)).astype(int)
    return bits, signs.reshape(n, n)


def equations(length: int) -> Array:
    """Return the code as a matrix: code bits = matrix @ message bits, modulo 2."""
    matrix = np.zeros((6 * length, length), np.uint8)
    for i in range(length):
        for j, taps in enumerate(TAPS):
            for d in range(15):
                matrix[6 * i + j, (i - d) % length] ^= taps >> (14 - d) & 1
    return matrix


def solve(soft: Array, length: int) -> Array:
    """Take the surest code bits that determine the message, and solve for it."""
    order = np.argsort(-np.abs(soft))
    rows = np.column_stack([equations(length), soft < 0]).astype(np.uint8)[order]
    used: list[int] = []
    for row in range(len(rows)):
        columns = np.flatnonzero(rows[row, :length])
        if len(columns) == 0:
            continue
        below = rows[:, columns[0]].astype(bool)
        below[row] = False
        rows[below] ^= rows[row]
        used.append(row)
        if len(used) == length:
            break
    message = np.zeros(length, np.uint8)
    for row in used:
        message[np.flatnonzero(rows[row, :length])[0]] = rows[row, length]
    return message


def chips_of(image: Image.Image, n: int) -> tuple[Array, int, int]:
    """Return luma on the chips inside a whole picture, and the first row and column."""
    wide, tall = image.size
    scale = max(wide, tall) / n
    columns, rows = int(wide / scale + 1e-6) // 2 * 2, int(tall / scale + 1e-6) // 2 * 2
    left, top = wide / 2 - columns / 2 * scale, tall / 2 - rows / 2 * scale
    box = left, top, left + columns * scale, top + rows * scale
    small = image.convert("L").resize((columns, rows), Image.Resampling.BICUBIC, box)
    return np.asarray(small, float), (n - rows) // 2, (n - columns) // 2


def smooth(values: Array, reach: int = 4) -> Array:
    for axis in (0, 1):
        pad = [(reach, reach) if a == axis else (0, 0) for a in (0, 1)]
        sums = np.cumsum(np.pad(values, pad, mode="reflect"), axis)
        ahead = np.take(sums, range(2 * reach, sums.shape[axis]), axis)
        behind = np.insert(np.take(sums, range(ahead.shape[axis] - 1), axis), 0, 0, axis)
        values = (ahead - behind) / (2 * reach + 1)
    return values


def second_reader(
    image: Image.Image, profile: dict[str, Any], secret: bytes = PUBLIC
) -> bytes | None:
    """Read a whole, upright picture of any size; None if the tag is wrong."""
    luma, top, left = chips_of(image, profile["chips"])
    high = luma - smooth(luma)
    field = np.clip(high / (np.sqrt(smooth(high * high)) + 1), -2.5, 2.5)
    bits, signs = layout(secret, profile)
    part = np.s_[top : top + len(field), left : left + field.shape[1]]
    length = 8 * (profile["payload"] + profile["tag"])
    soft = np.bincount(bits[part].ravel(), (field * signs[part]).ravel(), 6 * length)
    data = np.packbits(solve(soft, length))
    plain = bytes(data ^ stream(secret, profile, "scramble", len(data)))
    payload, tag = plain[: profile["payload"]], plain[profile["payload"] :]
    right = hmac.digest(hkdf(secret, profile, "tag"), payload, "sha256")[: profile["tag"]]
    return payload if tag == right else None


def pilots() -> list[tuple[int, int, int]]:
    """Read the pilots off the page."""
    rows = re.findall(r"\((-?\d+), (-?\d+), (\d+)\)", PAGE)
    return [(int(u), int(v), int(p)) for u, v, p in rows]


def pilot_agreement(image: Image.Image) -> float:
    """Return the mean cosine between the pilots' phases and those the page states."""
    luma = np.asarray(image.convert("L"), float)
    high = luma - smooth(luma)
    field = np.clip(high / (np.sqrt(smooth(high * high)) + 1), -2.5, 2.5)
    tall, wide = field.shape
    x = (np.arange(wide) - (wide - 1) / 2) / max(wide, tall)
    y = (np.arange(tall) - (tall - 1) / 2) / max(wide, tall)
    found = []
    for u, v, phase in pilots():
        wave = np.exp(-2j * np.pi * v * y) @ field @ np.exp(-2j * np.pi * u * x)
        found.append(np.cos(np.angle(wave) - 2 * np.pi * phase / 256))
    return float(np.mean(found))


def picture(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:height, :width] / height
    waves = sum(
        20 / (k + 1) * np.sin(rng.uniform(1, 9 + 2 * k) * x + rng.uniform(1, 9 + 2 * k) * y + k)
        for k in range(30)
    )
    noise = rng.normal(0, 4, (height, width))
    colour = np.stack([120 + waves + noise, 110 + 0.8 * waves + noise, 100 + 0.5 * waves], -1)
    return np.asarray(np.clip(colour, 0, 255), np.uint8)


@pytest.mark.parametrize(("name", "profile"), [("full", FULL), ("small", SMALL)])
def test_vectors_of_the_page_hold_in_the_second_reader(name: str, profile: dict[str, Any]) -> None:
    vector = block(name)
    for purpose in ("order", "signs", "tag", "scramble", "bind"):
        assert hkdf(PUBLIC, profile, purpose).hex() == vector[purpose]
    bits, signs = layout(PUBLIC, profile)
    packed = bits.astype(">u2").tobytes() + (signs < 0).astype(np.uint8).tobytes()
    assert hashlib.sha256(packed).hexdigest() == vector["layout"]
    payload = bytes.fromhex(vector["payload"])
    tag = hmac.digest(hkdf(PUBLIC, profile, "tag"), payload, "sha256")[: profile["tag"]]
    plain = np.frombuffer(payload + tag, np.uint8)
    message = plain ^ stream(PUBLIC, profile, "scramble", len(plain))
    assert message.tobytes().hex() == vector["message"]
    code = equations(8 * len(plain)) @ np.unpackbits(message) % 2
    assert np.packbits(code).tobytes().hex() == vector["code"]


@pytest.mark.parametrize(("name", "size"), [("full", (420, 600)), ("small", (128, 160))])
def test_second_reader_reads_what_embed_wrote(name: str, size: tuple[int, int]) -> None:
    profile = FULL if name == "full" else SMALL
    payload = Payload.from_bytes(bytes.fromhex(block(name)["payload"]))
    original = picture(*size)
    marked = embed(original, payload, profile=payload.profile).pixels  # type: ignore[arg-type]
    image = Image.fromarray(marked)
    assert second_reader(image, profile) == payload.to_bytes()
    half = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)
    assert second_reader(half, profile) == payload.to_bytes()
    assert second_reader(Image.fromarray(original), profile) is None
    assert second_reader(image, profile, b"another key of 16+") is None
    if name == "full":
        assert len(pilots()) == 32
        assert pilot_agreement(image) > 0.6
        assert abs(pilot_agreement(Image.fromarray(original))) < 0.5


def test_the_entries_to_register_fit_the_list(test_data: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(
        (test_data / "c2pa" / "spec" / "softbinding-algorithm-list.schema.json").read_bytes()
    )
    found = re.search(r"```json registry\n(.*?)```", PAGE, re.S)
    assert found
    entries = json.loads(found[1])
    names = {"counterproof.chip384.1", "counterproof.chip64.1", "counterproof.layout32.1"}
    assert {item["alg"] for item in entries} == names
    for number, entry in enumerate(entries):
        entry["identifier"] = number
        entry["entryMetadata"] |= {
            "dateEntered": "2026-11-29T00:00:00Z",
            "contact": "someone@example.org",
            "informationalUrl": "https://example.org/watermark",
        }
    jsonschema.validate(entries, schema)
