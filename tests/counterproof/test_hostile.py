"""Hostile files: no crash, no hang, no memory without end, no noise, only `ImageError`.

Files are opened in a process of their own that reports each before it begins, so that a crash
or a hang names its file.
"""

import io
import json
import os
import random
import runpy
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

MAX_SECONDS = 10.0
"""Of CPU for one file. A busy machine makes the clock run on, so the clock is not asked."""

HANGS_AFTER_S = 900
"""Of the clock, for all files of a test together: nothing but a hang takes that long."""

MAX_RESIDENT = 2**30

WORKER = r"""
import json, sys, time, traceback, warnings
from pathlib import Path
warnings.simplefilter("error")
from counterproof.audit.facts import FileAnalyzer, has_readable_metadata
from counterproof.audit.hashes import HashAnalyzer
from counterproof.audit.saved_by import SavedByAnalyzer
from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.settings import Settings

settings = Settings(home=Path("."))
analyzers = [FileAnalyzer(settings), HashAnalyzer(settings), SavedByAnalyzer(settings)]
if "all" in sys.argv:  # whatever else reads metadata
    from counterproof.audit.privacy_metadata import PrivacyAnalyzer
    from counterproof.provenance.analyzers import ANALYZERS
    names = ("c2pa", "labels", "traces", "rights")
    analyzers += [ANALYZERS[name](settings) for name in names] + [PrivacyAnalyzer(settings)]

def look(path, full):
    causes = []
    try:
        image = ImageFile.open(path)
    except ImageError as err:
        return [err.cause]
    image.metadata, image.info.to_json(), image.orientation, image.icc
    dict(image.exif), image.exif.get_ifd(0x8769), image.exif.get_ifd(0x8825)
    has_readable_metadata(image)
    steps = [lambda: image.pixels(128)]
    steps += [lambda analyzer=analyzer: list(analyzer.analyze(image)) for analyzer in analyzers]
    if full:
        steps += [image.pixels, image.stored]
    for step in steps:
        try:
            step()
        except ImageError as err:
            assert err.cause and str(err), path
            causes.append(err.cause)
    return causes

def most_resident():
    # Not getrusage: its peak begins at that of the process which started this one.
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024

for line in sys.stdin:
    path, full = json.loads(line)
    print(json.dumps({"begin": path}), flush=True)
    start, result = time.process_time(), {"path": path}
    try:
        result["causes"] = look(path, full)
    except BaseException:
        result["bug"] = traceback.format_exc()
    result["seconds"] = time.process_time() - start
    result["resident"] = most_resident()
    print(json.dumps(result), flush=True)
"""


def open_all(
    paths: Iterable[Path], full: bool = True, every: bool = False
) -> dict[str, dict[str, Any]]:
    """Open every file in one process; fail at a crash, a hang, a bug, or noise."""
    lines = "".join(json.dumps([str(path), full]) + "\n" for path in paths)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", WORKER, *(["all"] if every else [])],
            input=lines,
            capture_output=True,
            text=True,
            env=environment,
            timeout=HANGS_AFTER_S,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        said = (err.stdout or b"").decode().splitlines() or ["before the first file"]
        pytest.fail(f"hangs: {said[-1]}")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"ended by {done.returncode} at {found[-1]}: {done.stderr[-2000:]}"
    results = {item["path"]: item for item in found if "path" in item}
    for item in results.values():
        assert "bug" not in item, f"{item['path']}\n{item['bug']}"
        assert item["seconds"] < MAX_SECONDS, item
        if sys.platform == "linux":
            assert item["resident"] < MAX_RESIDENT, item
    assert done.stderr == ""
    return results


def test_the_hostile_collection(test_data: Path) -> None:
    results = open_all(sorted((test_data / "hostile").iterdir()))
    assert len(results) >= 418
    refused = [item for item in results.values() if item["causes"]]
    assert len(refused) > 150
    causes = {cause for item in refused for cause in item["causes"]}
    assert causes <= {
        "empty", "unknown_format", "unsupported", "damaged", "truncated", "too_many_pixels",
        "not_examined",
    }  # fmt: skip


def encode(kind: str, size: tuple[int, int] = (24, 16), **options: Any) -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int, height: int, rows: bytes, depth: int = 8, colour: int = 2, *more: bytes
) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def zeros(count: int) -> bytes:
    """Compress `count` zero bytes without holding them all."""
    packer, out = zlib.compressobj(9), []
    for _ in range(count >> 20):
        out.append(packer.compress(bytes(2**20)))
    out.append(packer.compress(bytes(count & (2**20 - 1))))
    return b"".join(out) + packer.flush()


def tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    return head + body + struct.pack("<I", following)


def sized_jpeg(width: int, height: int, **options: Any) -> bytes:
    """A small JPEG whose header claims another size."""
    data = encode("JPEG", **options)
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def large_bombs() -> dict[str, bytes]:
    """Bombs that go off slowly: pictures as large as the limits allow."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return {
        "png-250MP-1bit": png(16_000, 15_600, zeros(15_600 * 2_001), 1, 0),
        "png-180MP-grey": png(18_000, 10_000, zeros(10_000 * 18_001), 8, 0),
        "png-chunks": png(1, 1, zeros(4), 8, 2, chunk(b"tEXt", b"") * 500_000),
        "gif-frames": b"GIF89a\1\0\1\0\xf0\0\0" + bytes(6) + frame * 10**6 + b";",
        "jpeg-100MP-progressive": sized_jpeg(10_000, 10_000, progressive=True),
        "jpeg-250MP": sized_jpeg(15_800, 15_800),
        "webp-16383": encode("WEBP", (16_383, 3_000), lossless=True, quality=0, method=0),
        "png-ztxt-many": png(1, 1, zeros(4), 8, 2, *[chunk(b"zTXt", b"a\0\0" + zeros(2**24))] * 64),
    }


def bombs() -> dict[str, bytes]:
    gif = b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0xF0, 0, 0) + bytes(6)
    webp = encode("WEBP", lossless=True)
    avif = encode("AVIF")
    ispe = avif.index(b"ispe") + 8
    page = [(256, 4, 1, 50_000), (257, 4, 1, 4_000), (258, 3, 1, 8), (262, 3, 1, 1)]
    strips = [(273, 4, 1, 8), (279, 4, 1, 2**31), (278, 4, 1, 4_000), (277, 3, 1, 1)]
    exif = tiff(*((40_000 + n, 7, 60_000, 200) for n in range(2_000))).ljust(64_000, b"\0")
    return {
        "png-50000": png(50_000, 50_000, b""),
        "png-30000-1bit": png(30_000, 30_000, b"", 1, 0),
        "png-200MP-rgb": png(20_000, 10_000, b""),
        "png-wide": png(2**27, 1, b"", 8, 0),
        "png-high": png(1, 2**27, b"", 8, 0),
        "png-ztxt": png(1, 1, zeros(4), 8, 2, chunk(b"zTXt", b"a\0\0" + zeros(2**26))),
        "png-iccp": png(1, 1, zeros(4), 8, 2, chunk(b"iCCP", b"a\0\0" + zeros(2**26))),
        "png-exif": png(1, 1, zeros(4), 8, 2, chunk(b"eXIf", exif)),
        "gif-size": gif + b"\x2c\0\0\0\0\xff\xff\xff\xff\0\2\2\x44\1\0;",
        "jpeg-65500": sized_jpeg(65_500, 65_500),
        "jpeg-250MP-progressive": sized_jpeg(15_800, 15_800, progressive=True, subsampling=0),
        "jpeg-segments": encode("JPEG")[:2] + b"\xff\xfe\0\2" * 500_000 + encode("JPEG")[2:],
        "tiff-loop": tiff(*page, following=8),
        "tiff-200MP": tiff(*page, *strips) + bytes(99),
        "tiff-tags": exif,
        "tiff-entries": b"II*\0\x08\0\0\0\xff\xff" + bytes(800_000),
        "webp-length": webp[:4] + b"\xff\xff\xff\x7f" + webp[8:],
        "webp-size": webp[:21] + b"\xff\xff\xff\x0f" + webp[25:],
        "avif-size": avif[:ispe] + struct.pack(">II", 15_000, 15_000) + avif[ispe + 8 :],
        "avif-length": avif[:-8] + struct.pack(">I4s", 2**31, b"free"),
        "bmp-size": b"BM" + struct.pack("<IIIIiiHHI", 99, 0, 54, 40, 30_000, 8_000, 1, 24, 0)
        + bytes(99),
    }  # fmt: skip


def test_bombs(tmp_path: Path) -> None:
    for name, data in bombs().items():
        (tmp_path / name).write_bytes(data)
    results = open_all(sorted(tmp_path.iterdir()), full=False)
    causes = {Path(path).name: set(item["causes"]) for path, item in results.items()}
    for name in ("png-50000", "png-30000-1bit", "png-200MP-rgb", "gif-size", "jpeg-65500"):
        assert causes[name] == {"too_many_pixels"}, name
    for name in ("png-ztxt", "png-iccp", "png-exif"):
        assert not causes[name], name  # the picture itself is harmless
    assert all(causes[name] for name in ("tiff-loop", "tiff-tags", "bmp-size"))


@pytest.mark.slow
def test_large_bombs(tmp_path: Path) -> None:
    for name, data in large_bombs().items():
        (tmp_path / name).write_bytes(data)
    results = open_all(sorted(tmp_path.iterdir()), full=False)
    causes = {Path(path).name: set(item["causes"]) for path, item in results.items()}
    assert causes["png-chunks"] == {"damaged"}
    assert causes["jpeg-250MP"] == {"truncated"}
    assert not causes["png-250MP-1bit"]
    assert not causes["gif-frames"]


SAMPLES: dict[str, dict[str, Any]] = {
    "JPEG": {},
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
    "AVIF": {},
}


def test_every_cut_and_many_changed_bytes(tmp_path: Path) -> None:
    chance = random.Random(11)
    for kind, options in SAMPLES.items():
        data = encode(kind, (8, 8), **options)
        for length in range(4, len(data), max(1, len(data) // 80)):
            (tmp_path / f"{kind}-cut-{length}").write_bytes(data[:length])
        for number in range(60):
            changed = bytearray(data)
            for _ in range(chance.randint(1, 6)):
                changed[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            (tmp_path / f"{kind}-changed-{number}").write_bytes(changed)
    results = open_all(sorted(tmp_path.iterdir()))
    assert len(results) > 800


@pytest.mark.slow
def test_changed_photographs(tmp_path: Path, test_data: Path) -> None:
    chance = random.Random(12)
    sources = [path for path in (test_data / "photos").rglob("*.*") if path.stat().st_size < 80_000]
    sources += [test_data / "c2pa" / "generated" / name for name in ("fmt.heif", "fmt.avif")]
    for path in sources:
        data = path.read_bytes()
        for number in range(60):
            changed = bytearray(data)
            for _ in range(chance.randint(1, 30)):
                changed[chance.randrange(min(len(data), 4_000))] = chance.randrange(256)
            (tmp_path / f"{number}-{path.name}").write_bytes(changed)
    open_all(sorted(tmp_path.iterdir()))


PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:a="http://www.tc260.org.cn/ns/AIGC/1.0/">'
)


def every_format() -> dict[str, bytes]:
    """Make a small file of each format that is read, with metadata where that is easy."""
    made: Any = runpy.run_path(str(Path(__file__).parents[1] / "media_files.py"))
    raw: Any = runpy.run_path(str(Path(__file__).with_name("test_raw.py")))
    label = made["LABEL"]
    packet = PACKET + b"</rdf:Description></rdf:RDF></x:xmpmeta>"
    found = {kind.lower(): encode(kind, (8, 8), **options) for kind, options in SAMPLES.items()}
    return found | {
        "mp4": made["film"](made["keyed"]({"AIGC": label}), made["box"](b"XMP_", packet)),
        "mov": made["film"](made["keyed"]({"AIGC": label}, quicktime=True), brand=b"qt  "),
        "m4a": made["film"](made["freeform"]("AIGC", label), brand=b"M4A "),
        "wav": made["sound"](made["info"](ISFT="x"), made["chunk"](b"AIGC", label.encode())),
        "avi": made["riff"](b"AVI ", made["info"](AIGC=label), made["chunk"](b"_PMX", packet)),
        "mp3": made["song"](made["frame"](b"TXXX", b"\3AIGC\0" + label.encode())),
        "flac": made["lossless"](f"AIGC={label}"),
        "pdf": made["paper"](b"/AIGC (" + label.encode() + b")", packet, packed=True),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg">' + packet + b"</svg>",
        "nef": raw["nef"](raw["jpeg"]()),
        "cr3": raw["cr3"](raw["jpeg"]()),
        "raf": raw["raf"](raw["jpeg"](orientation=6)),
        "jxl": raw["CODESTREAM"],
    }


def boxed(depth: int) -> bytes:
    """Make a manifest store that holds another, and so on."""
    described = struct.pack(">I4s", 30, b"jumd") + b"c2pa\0\x11\0\x10\x80\0\0\xaa\x008\x9bq\3c2pa\0"
    inner = b""
    for _ in range(depth):
        inner = struct.pack(">I4s", 8 + len(described) + len(inner), b"jumb") + described + inner
    return inner


def with_store(data: bytes, store: bytes) -> bytes:
    """Put a manifest store where a container keeps one; in front of an unknown one's end."""
    if data[:2] == b"\xff\xd8" and len(store) < 65_000:
        head = struct.pack(">BBH2sHI", 0xFF, 0xEB, len(store) + 10, b"JP", 1, 1)
        return data[:2] + head + store + data[2:]
    if data[:4] == b"\x89PNG":
        chunk = struct.pack(">I4s", len(store), b"caBX") + store
        return data[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + data[33:]
    if data[:4] == b"RIFF":
        chunk = struct.pack("<4sI", b"C2PA", len(store)) + store + b"\0" * (len(store) & 1)
        return data[:4] + struct.pack("<I", len(data) + len(chunk) - 8) + data[8:] + chunk
    if data[4:8] == b"ftyp":
        purpose = b"\0\0\0\0manifest\0" + bytes(8)
        body = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + purpose + store
        return data + struct.pack(">I4s", 8 + len(body), b"uuid") + body
    return data + store


def as_large(data: bytes, chance: random.Random) -> bytes:
    """Say in the header that a picture of 8, 48 or 64 pixels a side has 50,000."""
    side = chance.choice((8, 48, 64))
    for form in chance.sample((">I", "<I", ">H", "<H"), 4):
        word = struct.pack(form, side)
        if data.count(word, 0, 200):
            return data[:200].replace(word, struct.pack(form, 50_000)) + data[200:]
    return data


def bomb(data: bytes) -> bytes:
    """Put 64 MiB of nothing into a PNG's text or a PDF's stream, packed; else nine times itself."""
    packed = zlib.compress(bytes(64 * 2**20), 9)
    if data[:4] == b"\x89PNG":
        chunk = b"zTXtComment\0\0" + packed
        made = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return data[:33] + made + data[33:]
    if data[:4] == b"%PDF":
        head = b"\n9 0 obj << /Type /Metadata /Filter /FlateDecode /Length %d >> stream\n" % len(
            packed
        )
        return data[:9] + head + packed + b"\nendstream endobj\n" + data[9:]
    return data * 9


def mutate(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Change a file in one of the ways in which files are hostile."""
    at = chance.randrange(len(data))
    what = chance.randrange(11)
    if what == 0:
        return data[: max(4, at)]
    if what == 1:  # a length that lies
        word = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"))
        return data[:at] + word + data[at + 4 :]
    if what == 2:  # two files in one
        return data + chance.choice(others)
    if what == 3:
        other = chance.choice(others)
        return other[: len(other) // 2] + data
    if what == 4:  # a part many times
        end = min(len(data), at + chance.randrange(4, 64))
        return data[:at] + data[at:end] * chance.randrange(2, 4_000) + data[end:]
    if what == 5:  # XMP that does not end
        return data[:at] + PACKET + b"<a:AIGC>" * chance.randrange(1, 20_000) + data[at:]
    if what == 6:
        return with_store(data, boxed(chance.choice((1, 15, 17, 400, 1_500))))
    if what == 7:
        return as_large(data, chance)
    if what == 8:
        return bomb(data)
    changed = bytearray(data)
    for _ in range(chance.randint(1, 12)):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
def test_two_thousand_mutants_of_every_format(part: int, tmp_path: Path) -> None:
    files = every_format()
    chance = random.Random(f"mutants {part}")
    names = sorted(files)
    for number in range(400):
        name = names[number % len(names)]
        data = mutate(files[name], list(files.values()), chance)
        (tmp_path / f"{number:04}-{name}").write_bytes(data)
    results = open_all(sorted(tmp_path.iterdir()), every=True)
    assert len(results) == 400
