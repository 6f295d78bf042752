"""What a file holds and does not show: overlays and frames beyond the edge, made here."""

import io
import struct
from pathlib import Path

import pytest
from PIL import Image

from counterproof.audit.hidden_parts import hidden_parts
from counterproof.audit.privacy_metadata import PrivacyAnalyzer
from counterproof.findings import Finding
from counterproof.images import ImageFile
from counterproof.settings import Settings


def gif(left: int) -> bytes:
    """Two frames on a screen of 40 pixels; the second, 20 wide, begins at `left`."""
    out = io.BytesIO()
    frames = [Image.new("P", (40, 40), 1), Image.new("P", (40, 40), 2)]
    frames[1].paste(3, (10, 10, 30, 30))
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    data = bytearray(out.getvalue())
    second = data.index(b"\x2c" + struct.pack("<4H", 10, 10, 20, 20))
    struct.pack_into("<H", data, second + 1, left)
    return bytes(data)


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body


def overlay(*places: tuple[int, int], wide: bool = False) -> bytes:
    """An overlay of 100 × 100 with layers of 40 × 40 at these places."""
    n = len(places) + 1
    letter = "i" if wide else "h"
    plan = struct.pack(">BB4H", 0, int(wide), 0, 0, 0, 0) + struct.pack(
        f">2{letter.upper()}", 100, 100
    )
    plan += b"".join(struct.pack(f">2{letter}", *place) for place in places)
    kinds = [b"iovl"] + [b"hvc1"] * len(places)
    infos = b"".join(
        box(b"infe", struct.pack(">IHH4sB", 2 << 24, i + 1, 0, kind, 0))
        for i, kind in enumerate(kinds)
    )
    sizes = [len(plan)] + [4] * len(places)

    def meta(start: int) -> bytes:
        rows, at = b"", start
        for number, size in enumerate(sizes, 1):
            rows += struct.pack(">HHHII", number, 0, 1, at, size)
            at += size
        links = struct.pack(f">HH{n - 1}H", 1, n - 1, *range(2, n + 1))
        ispe = b"".join(
            box(b"ispe", struct.pack(">3I", 0, side, side)) for side in (100, *[40] * (n - 1))
        )
        uses = b"".join(struct.pack(">HBB", number, 1, number) for number in range(1, n + 1))
        parts = [
            box(b"hdlr", b"\0" * 8 + b"pict" + b"\0" * 13),
            box(b"pitm", struct.pack(">IH", 0, 1)),
            box(b"iinf", struct.pack(">IH", 0, n) + infos),
            box(b"iloc", struct.pack(">IHH", 0, 0x4400, n) + rows),
            box(b"iref", b"\0" * 4 + box(b"dimg", links)),
            box(b"iprp", box(b"ipco", ispe) + box(b"ipma", struct.pack(">II", 0, n) + uses)),
        ]
        return box(b"meta", b"\0" * 4 + b"".join(parts))

    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", plan + b"\0" * 4 * len(places))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gif(10), []),
        (gif(30), ["frame"]),
        (overlay((0, 0), (50, 50)), []),
        (overlay((0, 0), (90, 0)), ["iovl"]),
        (overlay((-30, 0), (50, 50), wide=True), ["iovl"]),
        (overlay((10, 10), (20, 20)), ["iovl"]),
    ],
)
def test_what_is_hidden_is_named(data: bytes, said: list[str], tmp_path: Path) -> None:
    image = ImageFile.open(data)
    assert hidden_parts(image) == said
    found = {
        item.code
        for item in PrivacyAnalyzer(Settings(home=tmp_path)).analyze(image)
        if isinstance(item, Finding)
    }
    assert ("privacy.cropped" in found) == bool(said)


@pytest.mark.parametrize("data", [gif(30), overlay((0, 0), (90, 0))])
def test_damaged_files_hide_nothing_that_can_be_told(data: bytes) -> None:
    for length in range(20, len(data), 7):
        hidden_parts(ImageFile.open(data[:length]))
