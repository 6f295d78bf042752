"""The manifest store: what it takes in, what it finds, and what it refuses to open."""

import contextlib
import datetime as dt
import io
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterproof.errors import ProvenanceError, UserError
from counterproof.images import ImageFile
from counterproof.perceptual import DCT256
from counterproof.provenance.store import (
    ManifestStore,
    fingerprint,
    read_alone,
    signature_holds,
    signed_bindings,
)
from counterproof.provenance.trust import load_trust

TODAY = dt.datetime.now(dt.UTC).date()
BINDING = {
    "label": "c2pa.soft-binding",
    "data": {"alg": "org.example.mark", "blocks": [{"scope": {}, "value": [1, 2, 3]}]},
}


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_trust(tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def manifests(signing: Any, authority: Any) -> list[bytes]:
    made = []
    for seed in range(3):
        data = signing.picture(seed)
        made.append(signing.sign(authority, data, assertions=[BINDING], embed=False)[1])
    return made


def test_what_goes_in_comes_out(tmp_path: Path, trust: Any, manifests: list[bytes]) -> None:
    path = tmp_path / "new" / "store.sqlite"
    marks = [bytes([n]) * 32 for n in (0, 1, 255)]
    with ManifestStore.open(path, create=True) as store:
        before = store.digest()
        names = [
            store.add(data, trust, TODAY, [(DCT256, mark)])
            for data, mark in zip(manifests, marks, strict=True)
        ]
        assert store.digest() != before
        assert store.add(manifests[0], trust, TODAY) == names[0]  # again, and nothing changes
        assert len(store) == 3
    with ManifestStore.open(path) as store:
        assert store.ids() == names
        assert {kept.id for kept in store.find("org.example.mark", b"\1\2\3")} == set(names)
        assert store.find("org.example.mark", b"\1\2") == []
        assert store.find("org.example.other", b"\1\2\3") == []
        near = store.near(b"\0" * 31 + b"\7", 40)
        assert [(kept.id, kept.distance) for kept in near] == [(names[0], 3), (names[1], 33)]
        assert near[0].data == manifests[0]
        assert store.near(b"\x0f" * 32, 40) == []
        with pytest.raises(UserError, match="cannot write"):
            store.add(manifests[0], trust, TODAY, [(DCT256, b"x")])


def test_a_changed_manifest_is_not_taken_in(
    tmp_path: Path, trust: Any, manifests: list[bytes]
) -> None:
    data = manifests[0]
    places = [data.index(b"org.example.mark"), data.index(b"trainedAlgorithmic"), len(data) - 40]
    with ManifestStore.open(tmp_path / "store.sqlite", create=True) as store:
        for place in places:
            changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            with pytest.raises(ProvenanceError):
                store.add(changed, trust, TODAY)
        for other in (b"", b"\0" * 64, data[:-1], data[: len(data) // 2], b"\xff\xd8" + data):
            with pytest.raises(ProvenanceError):
                store.add(other, trust, TODAY)
        assert len(store) == 0
        assert store.digest() == ""


def test_a_signature_is_told_from_a_picture_that_is_not_here(
    signing: Any, authority: Any, trust: Any, manifests: list[bytes]
) -> None:
    found = read_alone(manifests[0], trust, TODAY)
    assert found is not None
    assert (found.state, signature_holds(found)) == ("unchecked", True)
    assert signed_bindings(found) == [("org.example.mark", b"\1\2\3")]


def test_a_failed_write_leaves_the_store_as_it_was(
    tmp_path: Path, trust: Any, manifests: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ManifestStore.open(tmp_path / "store.sqlite", create=True) as store:
        store.add(manifests[0], trust, TODAY)
        before = store.digest()
        monkeypatch.setattr(ManifestStore, "digest", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.add(manifests[1], trust, TODAY)
        monkeypatch.undo()
        assert (len(store), store.digest()) == (1, before)
        store.add(manifests[1], trust, TODAY)
        assert len(store) == 2


def test_files_that_are_no_store(tmp_path: Path, trust: Any, manifests: list[bytes]) -> None:
    good = tmp_path / "good.sqlite"
    with ManifestStore.open(good, create=True) as store:
        store.add(manifests[0], trust, TODAY)
    data = good.read_bytes()

    def altered(name: str, *statements: str) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        with sqlite3.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()
        return path

    bad = [
        tmp_path / "missing.sqlite",
        tmp_path,
        altered("view.sqlite", "CREATE VIEW more AS SELECT * FROM manifest"),
        altered("trigger.sqlite", "CREATE TRIGGER t INSERT ON meta BEGIN SELECT 1; END"),
        altered("less.sqlite", "DROP TABLE binding"),
        altered("other.sqlite", "PRAGMA application_id=7"),
        altered("newer.sqlite", "PRAGMA user_version=99"),
        altered("empty.sqlite", "DELETE FROM meta"),
    ]
    for name, content in (("text", b"hello"), ("zero", b""), ("head", data[:100])):
        bad.append(tmp_path / name)
        bad[-1].write_bytes(content)
    for path in bad:
        with pytest.raises(UserError) as caught:
            ManifestStore.open(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    odd = altered("types.sqlite", "UPDATE manifest SET data = 7")
    with ManifestStore.open(odd) as store, pytest.raises(UserError, match="damaged"):
        store.find("org.example.mark", b"\1\2\3")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_end_in_one_error_or_an_answer(
    seed: int, tmp_path: Path, trust: Any, manifests: list[bytes]
) -> None:
    path = tmp_path / "store.sqlite"
    with ManifestStore.open(path, create=True) as store:
        for data in manifests:
            store.add(data, trust, TODAY, [(DCT256, b"\1" * 32)])
    rng = np.random.default_rng(seed)
    spoiled = bytearray(path.read_bytes())
    for place in rng.integers(100, len(spoiled), 300):
        spoiled[place] = int(rng.integers(256))
    path.write_bytes(spoiled if seed % 2 else spoiled[: int(rng.integers(100, len(spoiled)))])
    with contextlib.suppress(UserError), ManifestStore.open(path) as store:
        store.find("org.example.mark", b"\1\2\3")
        store.near(b"\1" * 32, 40)


def test_a_plain_picture_has_no_fingerprint(signing: Any) -> None:
    plain = io.BytesIO()
    Image.new("RGB", (200, 150), (90, 120, 200)).save(plain, "PNG")
    assert fingerprint(ImageFile.open(plain.getvalue(), name="sky")) is None
    value = fingerprint(ImageFile.open(signing.picture(), name="picture"))
    assert value is not None
    assert len(value) == 32
