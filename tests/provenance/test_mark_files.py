"""Marked files appear whole or not at all, hostile ones are refused, and no key gets out."""

import datetime as dt
import os
import re
import runpy
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterproof.errors import CounterproofError, ImageError, ProvenanceError, UserError
from counterproof.images import ImageFile
from counterproof.provenance import keys
from counterproof.provenance.mark import assert_marked, mark
from counterproof.settings import Limits, Settings

_MADE = runpy.run_path(str(Path(__file__).with_name("marked.py")))
scene = _MADE["scene"]
coded = _MADE["coded"]
manifest = _MADE["manifest"]
assertion = _MADE["assertion"]


def test_nothing_is_replaced_unless_asked(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(coded("PNG"))
    mark(path, "generated", settings=settings, out=tmp_path / "out")
    for folder in (tmp_path / "out", tmp_path):
        with pytest.raises(UserError, match="exists already"):
            mark(path, "generated", settings=settings, out=folder)
    mark(path, "generated", settings=settings, out=tmp_path / "out", overwrite=True)
    mode = stat.S_IMODE((tmp_path / "out" / "a.png").stat().st_mode)
    assert mode == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("where", ["fsync", "link", "chmod"])
def test_an_interrupted_run_leaves_nothing(
    where: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, where, interrupt)
    with pytest.raises(KeyboardInterrupt):
        mark(coded("PNG"), "generated", settings=settings, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_never_there_without_its_sidecar(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    real = os.link

    def seen(source: str, target: Path) -> None:
        names.append(Path(target).suffix)
        real(source, target)

    monkeypatch.setattr(os, "link", seen)
    mark(coded("PNG"), "generated", settings=settings, out=tmp_path, sidecar=True)
    assert names == [".c2pa", ".png"]


def test_a_signer_that_fails_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    def broken(data: bytes) -> bytes:
        raise ConnectionError("the KMS is away")

    chain = (settings.home / "keys" / "default" / "chain.pem").read_bytes()
    identity = keys.from_callback(chain, broken)
    with pytest.raises(ProvenanceError, match="the signer failed"):
        mark(coded("PNG"), "generated", signer=identity, settings=settings, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_private_key_in_any_output(settings: Settings) -> None:
    secret = (settings.home / "keys" / "default" / "leaf.key").read_bytes()
    body = b"".join(secret.splitlines()[1:-1])
    import base64

    raw = base64.b64decode(body)
    made = mark(coded("PNG"), "generated", settings=settings)
    for part in (body, raw, raw[36:68]):
        assert part not in made.data
        assert repr(part) not in repr(made)


def test_two_first_uses_at_once_make_one_identity(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    chains: list[bytes] = []

    def use() -> None:
        chains.append(keys.local_identity(settings).chain)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(chains) == 4
    assert len(set(chains)) == 1


@pytest.mark.parametrize("data", [b"", b"x", b"\xff\xd8\xff", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_hostile_bytes_are_refused_in_one_way(data: bytes, settings: Settings) -> None:
    with pytest.raises(ImageError):
        mark(data, "generated", settings=settings)


def test_limits_hold(settings: Settings) -> None:
    small = Settings(home=settings.home, limits=Limits(max_pixels=1000))
    with pytest.raises(ImageError, match="limit"):
        mark(coded("PNG"), "generated", settings=small)
    for cut in range(0, 3000, 271):
        data = coded("JPEG")
        with pytest.raises(CounterproofError):
            mark(data[: min(cut, len(data) - 200)], "generated", settings=settings)


def test_when_is_said_for_pixels_and_not_guessed_for_files(settings: Settings) -> None:
    def said(source: Any, **options: Any) -> Any:
        made = mark(source, "generated", settings=settings, **options)
        return assertion(manifest(made.data), "c2pa.actions.v2")["actions"][0].get("when")

    assert said(coded("PNG")) is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said(scene()))
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert said(coded("PNG"), when=moment) == "2026-01-02T03:04:05Z"


def test_nobody_is_asked_for_the_time_unless_named(settings: Settings) -> None:
    with pytest.raises(UserError, match="time-stamping"):
        mark(coded("PNG"), "generated", settings=settings, tsa="ftp://example.org")
    with pytest.raises(ProvenanceError):  # nobody listens there
        mark(coded("PNG"), "generated", settings=settings, tsa="http://127.0.0.1:9/")


def test_heic_is_signed_without_coding_it_again(test_data: Path, settings: Settings) -> None:
    found = sorted((test_data / "photos" / "heif-nokia").glob("*C0*.heic"))
    for path in found[:2]:
        made = mark(path, "generated", settings=settings)
        assert made.layers["watermark"].reason == "container"
        before, after = ImageFile.open(path), ImageFile.open(made.data)
        assert np.array_equal(after.pixels(), before.pixels())
        assert_marked(made, "generated", settings=settings)
