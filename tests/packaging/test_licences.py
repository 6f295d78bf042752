import importlib.util
import json
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def licences() -> Iterator[ModuleType]:
    pytest.importorskip("packaging")
    spec = importlib.util.spec_from_file_location("licences", ROOT / "checks" / "licences.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "licences", module)  # dataclasses look it up
        spec.loader.exec_module(module)
        yield module


def install(
    folder: Path, name: str, *fields: str, files: dict[str, bytes] | None = None
) -> list[Distribution]:
    """Write a package's metadata and files as pip would, and return all that stand there."""
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1", *fields]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    for path, data in (files or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files or {}))
    return list(distributions(path=[str(folder)]))


def problems(licences: ModuleType, folder: Path, installed: list[Distribution]) -> list[str]:
    return [
        f"{entry.name}: {entry.problem}"
        for entry in licences.check(installed, folder)
        if entry.problem
    ]


def test_only_what_a_plain_install_brings_is_looked_at(
    licences: ModuleType, tmp_path: Path
) -> None:
    install(
        tmp_path,
        "counterproof",
        "Requires-Dist: good",
        'Requires-Dist: gpl-extra; extra == "extra"',
        'Requires-Dist: elsewhere; sys_platform == "never"',
    )
    install(tmp_path, "good", "License-Expression: MIT", "Requires-Dist: deeper")
    install(tmp_path, "gpl-extra", "License-Expression: GPL-3.0-or-later")
    found = install(tmp_path, "deeper", "License-Expression: AGPL-3.0-only")
    assert problems(licences, tmp_path, found) == ["deeper: licence AGPL-3.0-only"]


def test_extras_are_looked_at_when_named(licences: ModuleType, tmp_path: Path) -> None:
    wanted = ("Provides-Extra: extra", 'Requires-Dist: more; extra == "extra"')
    install(tmp_path, "counterproof", *wanted)
    found = install(tmp_path, "more", "License-Expression: AGPL-3.0-only")
    assert problems(licences, tmp_path, found) == []
    said = [e.problem for e in licences.check(found, tmp_path, ["extra"]) if e.problem]
    assert said == ["licence AGPL-3.0-only"]
    with pytest.raises(KeyError, match="other"):
        licences.check(found, tmp_path, ["other"])


@pytest.mark.parametrize(
    ("fields", "ok"),
    [
        (["License-Expression: Apache-2.0 OR GPL-3.0-only"], True),
        (["License-Expression: Apache-2.0 AND GPL-3.0-only"], False),
        (["License: GPLv3"], False),
        (["License: MIT"], True),
        (["Classifier: License :: OSI Approved :: BSD License"], False),
        (["Classifier: License :: OSI Approved :: BSD License", "License: BSD-3-Clause"], True),
        (["Classifier: License :: OSI Approved :: MIT License", "License: GPL"], False),
        ([], False),
    ],
)
def test_declared_licences(
    licences: ModuleType, tmp_path: Path, fields: list[str], ok: bool
) -> None:
    install(tmp_path, "counterproof", "Requires-Dist: other")
    found = install(tmp_path, "other", *fields)
    assert (problems(licences, tmp_path, found) == []) is ok


@pytest.mark.parametrize(
    ("path", "data", "problem"),
    [
        ("other.libs/libpng16-0123abcd.so.16.1", b"", ""),
        ("other.libs/libx265-0123abcd.so.199", b"", "not reviewed"),
        ("other.libs/libnever_seen.so", b"", "not reviewed"),
        ("other.libs/libheif-01.so.1", b"..x265 [info]: HEVC encoder..", "holds x265"),
        ("other.libs/libavcodec-01.so.62", b"libavcodec license: LGPL version 2.1 or later", ""),
        ("other.libs/libavcodec-01.so.62", b"libavcodec license: GPL version 2 or later", "FFmpeg"),
        ("other/_fast.cpython-311-x86_64-linux-gnu.so", b"", ""),
        ("other/_fast.abi3.so", b"x264 - core 164 - H.264/MPEG-4 AVC codec - Copyleft", "x264"),
    ],
)
def test_libraries_inside_wheels(
    licences: ModuleType, tmp_path: Path, path: str, data: bytes, problem: str
) -> None:
    install(tmp_path, "counterproof", "Requires-Dist: other")
    found = install(tmp_path, "other", "License-Expression: MIT", files={path: data})
    said = problems(licences, tmp_path, found)
    assert len(said) == bool(problem)
    assert all(problem in line for line in said)


def test_weights_and_their_data(licences: ModuleType, tmp_path: Path) -> None:
    found = install(tmp_path, "counterproof")
    card = tmp_path / "detectors" / "weights" / "tiny.card.json"
    card.parent.mkdir(parents=True)
    data = [{"name": "a", "licence": "CC-BY-4.0", "n": 1}, {"name": "b", "licence": "?", "n": 1}]
    card.write_text(json.dumps({"licence": "MIT", "data": data}))
    assert problems(licences, tmp_path, found) == ["detectors/weights/tiny.card.json: b: licence ?"]


def test_a_missing_requirement_is_not_passed_over(licences: ModuleType, tmp_path: Path) -> None:
    found = install(tmp_path, "counterproof", "Requires-Dist: absent")
    with pytest.raises(KeyError, match="absent"):
        licences.check(found, tmp_path)


def test_every_review_gives_its_reason(licences: ModuleType) -> None:
    for table in (licences.REVIEWED_PACKAGES, licences.REVIEWED_LIBRARIES):
        assert all(why and licences.is_allowed(spdx) for spdx, why in table.values())
