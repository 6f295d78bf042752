"""What all tests share: where the material that is not part of the project lies."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.local_pki import LocalPki

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of test pictures kept outside the repository, for licence reasons.

    `COUNTERPROOF_TEST_DATA` names it; the default is `shared/data` beside the repository.
    """
    folder = Path(os.environ.get("COUNTERPROOF_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no test pictures at {folder}; set COUNTERPROOF_TEST_DATA to run this test")
    return folder


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the keys, lists and cases of the person who runs it."""
    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    for name in ("LANGUAGE", "AS_OF", "ONLINE"):
        monkeypatch.delenv(f"COUNTERPROOF_{name}", raising=False)


@pytest.fixture(scope="session")
def local_pki(tmp_path_factory: pytest.TempPathFactory) -> "LocalPki":
    """A certificate authority with an OCSP responder and a time-stamping authority."""
    pytest.importorskip("certomancer")
    from tests.local_pki import LocalPki

    return LocalPki(tmp_path_factory.mktemp("pki"))
