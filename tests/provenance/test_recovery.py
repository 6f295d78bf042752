"""Recovery: a stripped copy leads back to its credential, a moved mark leads nowhere."""

import dataclasses
import datetime as dt
import io
import sqlite3
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from counterproof.audit.examine import ScanSpec, examine
from counterproof.audit.verdict import decide
from counterproof.errors import UserError
from counterproof.findings import Basis, Claim, Finding
from counterproof.images import ImageFile
from counterproof.provenance import manifest_store, watermark
from counterproof.provenance.keys import init_identity
from counterproof.provenance.mark import MarkedImage, mark
from counterproof.provenance.recovery import RecoveryAnalyzer
from counterproof.provenance.store import ManifestStore, default_store
from counterproof.settings import Settings

KEY = b"a secret of sixteen bytes or more"


def scene(seed: int, size: tuple[int, int] = (480, 640)) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    low = rng.normal(127, 50, (12, 16, 3)).astype(np.float32)
    large = cv2.resize(low, size[::-1], interpolation=cv2.INTER_CUBIC)
    return (large + rng.normal(0, 6, (*size, 3))).clip(0, 255).astype(np.uint8)


def stripped(pixels: NDArray[np.uint8], scale: float = 0.5, quality: int = 50) -> ImageFile:
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    image.resize((int(image.width * scale), int(image.height * scale))).save(
        out, "JPEG", quality=quality
    )
    return ImageFile.open(out.getvalue(), name="copy.jpg")


def look(image: ImageFile, settings: Settings) -> list[Finding]:
    found = list(RecoveryAnalyzer(settings).analyze(image))
    return [item for item in found if isinstance(item, Finding)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def settings(home: Path) -> Settings:
    return Settings(home=home)


@pytest.fixture(scope="module")
def public(settings: Settings) -> MarkedImage:
    made = mark(scene(1), "generated", settings=settings, format="jpeg")
    assert isinstance(made, MarkedImage)
    assert made.recorded
    return made


def test_a_stripped_copy_leads_back_by_its_watermark(
    public: MarkedImage, settings: Settings
) -> None:
    for pixels in (public.pixels(), public.pixels()[60:, 90:], 255 - public.pixels()):
        found = look(stripped(pixels, 0.75, 75), settings)
        assert [item.code for item in found] == ["recovery.match"]
        assert (found[0].claim, found[0].basis) == (Claim.SYNTHETIC, Basis.DECLARED)
        assert found[0].details["by"] == "watermark"
        assert found[0].details["compared"] == "signed"
    assert decide(look(stripped(public.pixels()), settings)).status == "synthetic_declared"


def test_a_picture_with_its_credential_is_not_looked_up(
    public: MarkedImage, settings: Settings
) -> None:
    assert look(ImageFile.open(public.data, name="marked"), settings) == []


def test_a_scan_reads_each_watermark_and_each_credential_once(
    public: MarkedImage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(module: Any, name: str) -> None:
        real = getattr(module, name)

        def count(*given: Any) -> Any:
            read.append(name)
            return real(*given)

        monkeypatch.setattr(module, name, count)

    counted(watermark, "read")
    counted(manifest_store, "_read_store")
    plan = ScanSpec(settings, only=("watermark", "recovery", "c2pa", "privacy")).prepare()
    copy = stripped(public.pixels())
    codes = {item.code for item in examine(copy, plan).record.findings}
    assert {"watermark.unchecked", "recovery.match"} <= codes
    assert read.count("read") == 1
    read.clear()
    examine(ImageFile.open(public.data), plan)
    assert sorted(read) == ["_read_store", "read"]


def test_without_a_store_nothing_is_done(tmp_path: Path, public: MarkedImage) -> None:
    none = Settings(home=tmp_path)
    assert look(stripped(public.pixels()), none) == []
    assert RecoveryAnalyzer(none).digest() == ""
    with pytest.raises(UserError, match="no such manifest store"):
        RecoveryAnalyzer(Settings(home=tmp_path, stores=(tmp_path / "missing",)))


def test_a_capture_is_found_by_its_fingerprint_and_never_claimed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    made = mark(scene(2), "captured", settings=settings)
    assert made.layers["watermark"].state == "off"
    found = look(stripped(made.pixels()), settings)
    assert [item.code for item in found] == ["recovery.match"]
    assert found[0].claim is Claim.NONE
    assert (found[0].details["by"], found[0].details["compared"]) == ("fingerprint", "store")
    assert decide(found).status == "no_evidence"
    assert look(stripped(scene(3)), settings) == []


def test_a_moved_mark_is_a_mismatch_and_claims_nothing(
    public: MarkedImage, settings: Settings
) -> None:
    signal = public.pixels().astype(float) - scene(1)
    moved = (scene(4) + 1.5 * signal).clip(0, 255).astype(np.uint8)
    found = look(stripped(moved, 1, 90), settings)
    assert [item.code for item in found] == ["recovery.mismatch"]
    assert found[0].claim is Claim.NONE
    assert decide(found).status == "no_evidence"


def test_a_private_mark_counts_only_with_a_listed_signer(tmp_path: Path) -> None:
    home = tmp_path / "home"
    init_identity(home, "Example Press")
    (tmp_path / "key").write_bytes(KEY)
    settings = Settings(home=home)
    made = mark(scene(5), "generated", settings=settings, watermark_key=KEY)
    copy = stripped(made.pixels())
    keyless = look(copy, settings)
    assert (keyless[0].details["by"], keyless[0].basis) == ("fingerprint", Basis.DECLARED)
    keyed = dataclasses.replace(settings, keys=(tmp_path / "key",))
    unlisted = look(copy, keyed)
    assert (unlisted[0].details["private"], unlisted[0].basis) == (True, Basis.DECLARED)
    root = home / "trust" / "signer" / "root.pem"
    root.parent.mkdir(parents=True)
    root.write_bytes(next(home.rglob("keys/**/root.pem")).read_bytes())
    listed = look(copy, keyed)
    assert (listed[0].claim, listed[0].basis) == (Claim.SYNTHETIC, Basis.MARK)
    assert decide(listed).status == "synthetic_verified"
    late = dataclasses.replace(keyed, as_of=dt.date(2060, 1, 1))
    assert look(copy, late)[0].basis is Basis.DECLARED
    assert listed[0].details["holds_until"]


def test_a_picture_within_a_page_is_found_and_the_page_not_called_synthetic(
    public: MarkedImage, settings: Settings
) -> None:
    page = np.full((900, 1200, 3), 250, np.uint8)
    page[200:680, 300:940] = public.pixels()
    found = look(stripped(page, 1, 95), settings)
    assert [item.code for item in found] == ["recovery.match"]
    assert found[0].claim is Claim.NONE
    assert found[0].details["covered"] < 0.4


def test_a_store_that_lies_is_not_believed(
    tmp_path: Path, public: MarkedImage, settings: Settings
) -> None:
    path = tmp_path / "lying.sqlite"
    path.write_bytes(default_store(settings.home).read_bytes())
    with ManifestStore.open(path) as store:
        name = store.ids()[0]
        data = store.find(*_binding(path, name))[0].data
    with sqlite3.connect(path) as connection:  # one byte of the signed statement is changed
        place = data.index(b"trainedAlgorithmicMedia")
        changed = data[:place] + b"T" + data[place + 1 :]
        connection.execute("UPDATE manifest SET data = ? WHERE id = ?", (changed, name))
    connection.close()
    named = Settings(home=tmp_path / "none", stores=(path,))
    assert look(stripped(public.pixels()), named) == []
    with sqlite3.connect(path) as connection:  # a true manifest under another mark and print
        connection.execute("UPDATE manifest SET data = ? WHERE id = ?", (data, name))
        connection.execute("UPDATE binding SET value = zeroblob(32) WHERE alg LIKE '%dct256%'")
    connection.close()
    other = mark(scene(6), "generated", settings=Settings(home=tmp_path / "other"))
    with ManifestStore.open(default_store(tmp_path / "other")) as store:
        theirs = _binding(store.path, store.ids()[0])
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO binding VALUES (?, ?, ?)", (*theirs, name))
    connection.close()
    assert look(stripped(other.pixels()), named) == []


def _binding(path: Path, manifest: str) -> tuple[str, bytes]:
    with sqlite3.connect(path) as connection:
        query = "SELECT alg, value FROM binding WHERE manifest = ? AND alg LIKE '%chip384%'"
        found: tuple[str, bytes] = connection.execute(query, (manifest,)).fetchone()
    connection.close()
    return found


@pytest.mark.parametrize("fmt", ["png", "webp", "tiff", "avif"])
def test_every_format_is_recorded(fmt: str, settings: Settings) -> None:
    made: Any = mark(scene(7, (130, 260)), "model-edited", settings=settings, format=fmt)
    assert made.recorded
    found = look(stripped(made.pixels(), 1, 90), settings)
    assert [(item.code, item.claim) for item in found] == [("recovery.match", Claim.MODEL_EDITED)]


def test_a_named_store_gets_the_manifest(tmp_path: Path, settings: Settings) -> None:
    own = tmp_path / "own.sqlite"
    before = default_store(settings.home).exists()
    mark(scene(8), "generated", settings=Settings(home=tmp_path), store=own)
    assert own.is_file()
    assert not default_store(tmp_path).exists()
    assert default_store(settings.home).exists() == before
    with pytest.raises(UserError):
        mark(scene(8), "generated", settings=settings, store=tmp_path)


def test_the_digest_follows_the_store(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    seen = {RecoveryAnalyzer(settings).digest()}
    for seed in (10, 11):
        mark(scene(seed, (130, 260)), "generated", settings=settings)
        seen.add(RecoveryAnalyzer(settings).digest())
    assert len(seen) == 3
