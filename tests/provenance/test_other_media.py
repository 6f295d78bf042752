"""Video, sound, documents and drawings: the same five answers, labels, and what is left out."""

import dataclasses
import runpy
from pathlib import Path
from typing import Any

import pytest

from counterproof.analysis import Stage
from counterproof.audit.examine import ScanSpec, examine
from counterproof.findings import Finding, Record
from counterproof.images import ImageFile
from counterproof.settings import Settings
from counterproof.text import catalogue

make: Any = runpy.run_path(str(Path(__file__).parents[1] / "media_files.py"))
LABEL: str = make["LABEL"]
FILM: bytes = make["film"](make["keyed"]({"AIGC": LABEL}))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="5"/></svg>'

BARE = FILM.partition(b"mdat")[0][:-4]  # the head of a film that has no content at all

FILES: dict[str, bytes] = {
    "mp4": make["film"](make["keyed"]({"AIGC": LABEL})),
    "mov": make["film"](make["keyed"]({"AIGC": LABEL}, quicktime=True), brand=b"qt  "),
    "m4a": make["film"](make["freeform"]("AIGC", LABEL), brand=b"M4A "),
    "wav": make["sound"](make["chunk"](b"AIGC", LABEL.encode())),
    "mp3": make["song"](make["frame"](b"TXXX", b"\3AIGC\0" + LABEL.encode())),
    "flac": make["lossless"](f"AIGC={LABEL}"),
    "pdf": make["paper"](b"/AIGC (" + LABEL.encode() + b")"),
    "svg": SVG,
}
MIMES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "m4a": "audio/mp4",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "pdf": "application/pdf",
    "svg": "image/svg+xml",
}


def look(data: bytes, home: Path, profile: Stage = Stage.STANDARD) -> Record:
    plan = ScanSpec(Settings(home=home), profile).prepare()
    return examine(ImageFile.open(data), plan).record


def coded(record: Record, code: str) -> Finding:
    return next(finding for finding in record.findings if finding.code == code)


@pytest.mark.parametrize("form", FILES)
def test_five_answers(form: str, signing: Any, authority: Any) -> None:
    data, _ = signing.sign(authority, FILES[form], mime=MIMES[form])
    seen = signing.look(data, authority)
    assert seen.answers == ("intact", "user", "in_validity", "complete", "synthetic")
    assert seen.status == "synthetic_verified"
    assert "ambiguous" not in seen.details
    assert seen.details["coverage"]["picture_excluded"] is False
    assert signing.look(data).answers[1] == "unlisted"
    words = {"wav": b"data", "pdf": b"MediaBox", "svg": b"<rect", "mp3": b"\xff\xfb\x90"}
    words["flac"] = b"\xff\xf8"
    at = data.find(words.get(form, b"mdat")) + 9
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert signing.look(changed, authority).status == "altered"


@pytest.mark.parametrize("form", [form for form in FILES if form != "svg"])
def test_labels_and_what_was_left_out(form: str, tmp_path: Path) -> None:
    record = look(FILES[form], tmp_path)
    assert record.verdict.status == "synthetic_declared"
    assert record.verdict.rests_on == ("label.aigc.declared",)
    assert record.file.format == form
    left = coded(record, "file.content.unexamined")
    assert {"hashes", "watermark"} <= set(left.details["checks"])
    assert not [f.code for f in record.findings if f.state in ("skipped", "failed", "timeout")]
    for language in ("en", "zh"):
        assert "{" not in catalogue(language).sentence(left)


def test_nothing_found_is_no_evidence(tmp_path: Path) -> None:
    record = look(make["sound"](), tmp_path, Stage.DEEP)
    assert record.verdict.status == "no_evidence"
    assert [finding.code for finding in record.findings] == ["file.content.unexamined"]


def test_a_cut_file_without_metadata_is_unreadable(tmp_path: Path) -> None:
    record = look(make["sound"]()[:-50], tmp_path)
    assert record.verdict.status == "unreadable"
    assert coded(record, "file.unreadable").details["cause"] == "truncated"


def test_what_recorded_it(tmp_path: Path) -> None:
    apple = "com.apple.quicktime."
    keys = {
        f"{apple}make": "Example",
        f"{apple}model": "Camera 1",
        f"{apple}creationdate": "2026-05-01T10:20:30+0200",
        f"{apple}location.ISO6709": "+48.1+011.5/",
    }
    data = make["film"](movie=make["keyed"](keys, quicktime=True), brand=b"qt  ")
    record = look(data, tmp_path)
    assert record.facts["camera.make"] == "Example"
    assert record.facts["camera.model"] == "Camera 1"
    assert record.facts["captured_at"] == "2026-05-01T10:20:30+02:00"
    assert record.facts["gps.present"] is True
    assert "privacy.gps" in [finding.code for finding in record.findings]
    assert "+48.1" not in repr(dataclasses.asdict(record))


def test_what_recorded_it_is_signed(signing: Any, authority: Any) -> None:
    keys = {"com.apple.quicktime.model": "Camera 1"}
    data = make["film"](movie=make["keyed"](keys, quicktime=True), brand=b"qt  ")
    signed, _ = signing.sign(authority, data, mime="video/quicktime")
    facts = signing.look(signed, authority).details["coverage"]["facts"]
    assert facts["camera"]["state"] == "signed"
    assert facts["camera"]["carriers"] == [{"where": "text", "state": "signed"}]


def test_the_head_of_a_film_in_pieces_is_not_called_altered(signing: Any, authority: Any) -> None:
    data, _ = signing.sign(authority, FILES["mp4"], mime="video/mp4")
    head = data.partition(b"mdat")[0][:-4]
    assert ImageFile.open(head).metadata.has_content is False
    assert signing.look(head, authority).answers[0] == "unchecked"
    alone, _ = signing.sign(authority, BARE, mime="video/mp4")
    assert ImageFile.open(alone).metadata.has_content is False
    assert signing.look(alone, authority).answers[0] == "intact"


def test_a_signed_raw_file(signing: Any, authority: Any) -> None:
    raw: Any = runpy.run_path(str(Path(__file__).parents[1] / "counterproof" / "test_raw.py"))
    data, _ = signing.sign(authority, raw["nef"](raw["jpeg"]()), mime="image/tiff")
    assert ImageFile.open(data).format == "raw"
    seen = signing.look(data, authority)
    assert seen.answers == ("intact", "user", "in_validity", "complete", "synthetic")
    changed = data[:300] + bytes([data[300] ^ 1]) + data[301:]
    assert signing.look(changed, authority).status == "altered"
