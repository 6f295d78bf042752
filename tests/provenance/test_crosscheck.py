"""A second verifier reads credentials; what it says is a finding and never a verdict."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from counterproof.analysis import Stage
from counterproof.audit import registry
from counterproof.audit.rules import judge
from counterproof.audit.verdict import decide
from counterproof.errors import MissingExtra, UserError
from counterproof.findings import (
    Answers,
    Claim,
    Fact,
    FileInfo,
    Finding,
    Integrity,
    Record,
    RunInfo,
)
from counterproof.images import ImageFile
from counterproof.provenance import crosscheck, manifest_store
from counterproof.provenance.credentials import read_credential
from counterproof.provenance.credentials_scan import CredentialsAnalyzer
from counterproof.provenance.crosscheck import CrosscheckAnalyzer, SecondReading, disagreement
from counterproof.provenance.trust import load_trust
from counterproof.settings import Settings
from counterproof.text import catalogue


def observed(data: bytes | ImageFile, home: Path) -> list[Any]:
    image = data if isinstance(data, ImageFile) else ImageFile.open(data)
    return list(CrosscheckAnalyzer(Settings(home=home)).analyze(image))


def changed(data: bytes) -> bytes:
    """Flip one bit in the picture data of a JPEG."""
    at = len(data) - 200
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.fixture
def installed() -> None:
    pytest.importorskip("encypher_c2pa")


@pytest.mark.usefixtures("installed")
def test_both_verifiers_agree(signing: Any, authority: Any, intact: bytes) -> None:
    agreed = [Fact("credential.verifiers_agree", True)]
    assert observed(intact, signing.home(authority)) == agreed
    assert observed(intact, signing.home()) == agreed
    assert observed(changed(intact), signing.home(authority)) == agreed


@pytest.mark.usefixtures("installed")
def test_what_the_second_says(signing: Any, authority: Any, intact: bytes) -> None:
    trusted, nobody = load_trust(signing.home(authority)), load_trust(signing.home())
    now = dt.datetime.now(dt.UTC)
    whole, cut = ImageFile.open(intact), ImageFile.open(changed(intact))
    read = crosscheck.read_again
    assert read(whole, trusted, now) == SecondReading(Integrity.INTACT, listed=True)
    unlisted = read(whole, nobody, now)
    assert unlisted == SecondReading(
        Integrity.INTACT, False, False, ("signingCredential.untrusted",)
    )
    broken = read(cut, trusted, now)
    assert broken is not None
    assert broken.integrity is Integrity.BROKEN
    assert "assertion.dataHash.mismatch" in broken.failures
    # the certificate was not yet in force
    early = read(whole, trusted, now - dt.timedelta(days=5000))
    assert early is not None
    assert early.listed is False


@pytest.mark.usefixtures("installed")
def test_a_sidecar_is_read(signing: Any, authority: Any) -> None:
    data, store = signing.sign(authority, signing.picture(), embed=False)
    image = ImageFile.open(data, sidecar=store)
    agreed = [Fact("credential.verifiers_agree", True)]
    assert observed(image, signing.home(authority)) == agreed


@pytest.mark.usefixtures("installed")
def test_a_picture_without_credential_costs_nothing(
    signing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(crosscheck, "read_again", never)
    assert observed(signing.picture(), signing.home()) == []


@pytest.mark.usefixtures("installed")
def test_nothing_is_saved_in_the_users_folder(
    signing: Any, intact: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "ENCYPHER_C2PA_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    observed(intact, signing.home())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("second", "about"),
    [
        (SecondReading(Integrity.BROKEN), "bytes"),
        (SecondReading(Integrity.UNCHECKED, error="no"), "reach"),
        (SecondReading(Integrity.INTACT, listed=False), "signer"),
        (SecondReading(Integrity.INTACT, parent_broken=True), "parents"),
    ],
)
def test_a_disagreement_is_a_finding_and_no_verdict(
    second: SecondReading,
    about: str,
    signing: Any,
    authority: Any,
    intact: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = signing.home(authority)
    before = signing.look(intact, authority)
    monkeypatch.setattr(crosscheck, "read_again", lambda *_: second)
    fact, finding = observed(intact, home)
    assert fact == Fact("credential.verifiers_agree", False)
    assert finding.code == "c2pa.disagreement"
    assert (finding.claim, finding.details["about"]) == (Claim.NONE, about)
    assert "c2pa-rs" in finding.details["library"]
    assert finding.details["verifier"].startswith("encypher-c2pa ")
    assert decide([*before.findings, finding]).status is before.verdict.status
    for language in ("en", "zh"):
        said = catalogue(language).sentence(finding)
        assert finding.details["verifier"] in said
        assert "{" not in said
    json.dumps(finding.details)


def test_kinds_of_disagreement(signing: Any, authority: Any, intact: bytes) -> None:
    day = dt.datetime.now(dt.UTC).date()
    trust = load_trust(signing.home(authority))
    credential = read_credential(ImageFile.open(intact), trust, day)
    assert credential is not None
    words = {
        SecondReading(Integrity.INTACT, listed=True): "",
        SecondReading(Integrity.INTACT): "",
        SecondReading(Integrity.INTACT, listed=False): "signer",
        SecondReading(Integrity.INTACT, parent_broken=True): "parents",
        SecondReading(Integrity.BROKEN, listed=True): "bytes",
        SecondReading(Integrity.UNCHECKED): "reach",
    }
    assert {second: disagreement(credential, second) for second in words} == words
    unread = replace(credential, answers=Answers())
    assert disagreement(unread, SecondReading(Integrity.UNCHECKED)) == ""
    assert disagreement(unread, SecondReading(Integrity.INTACT)) == "reach"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(crosscheck, "is_installed", lambda: False)
    settings = Settings(home=tmp_path)
    names = {item.name for item in registry.choose(settings, Stage.DEEP)}
    assert "c2pa" in names
    assert "crosscheck" not in names
    both = {item.name for item in registry.choose(settings, Stage.QUICK, only=["c2pa"])}
    assert both == {"c2pa"}
    with pytest.raises(MissingExtra, match=r"counterproof\[crosscheck\]"):
        registry.choose(settings, Stage.QUICK, only=["crosscheck"])


@pytest.fixture
def fresh_versions() -> Any:
    manifest_store.library_version.cache_clear()
    yield
    manifest_store.library_version.cache_clear()


@pytest.mark.usefixtures("fresh_versions")
def test_a_native_library_below_the_floor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import c2pa

    monkeypatch.setattr(c2pa, "sdk_version", lambda: "0.91.2")
    with pytest.raises(UserError, match=r"c2pa-rs 0\.91\.2 is too old: at least 0\.91\.3"):
        manifest_store.library_version()


@pytest.mark.usefixtures("fresh_versions")
def test_records_of_another_library_are_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import c2pa

    settings = Settings(home=tmp_path)
    before = CredentialsAnalyzer(settings).fingerprint()
    monkeypatch.setattr(c2pa, "sdk_version", lambda: "0.99.0")
    manifest_store.library_version.cache_clear()
    assert CredentialsAnalyzer(settings).fingerprint() != before


@pytest.mark.parametrize(
    ("library", "outdated"),
    [
        ("c2pa-python 0.30.0, c2pa-rs 0.80.1", True),
        ("", True),
        ("c2pa-python 0.38.1, c2pa-rs 0.91.3", False),
        ("c2pa-python 1.0.0, c2pa-rs 1.0.0", False),
    ],
)
def test_a_kept_record_of_an_old_library_says_so(
    library: str, outdated: bool, tmp_path: Path, make_manifest: Callable[[str], Finding]
) -> None:
    findings = (make_manifest(library),)
    run = RunInfo("0", "quick", {}, {}, "2026-11-29")
    record = Record("x.jpg", "0" * 64, FileInfo(), {}, findings, decide(findings), run)
    judged = judge(record, Settings(home=tmp_path))
    added = [item.code for item in judged.findings[1:]]
    assert added == (["c2pa.library.outdated"] if outdated else [])
    assert judged.verdict == record.verdict


@pytest.fixture
def make_manifest() -> Callable[[str], Finding]:
    def make(library: str) -> Finding:
        details = {"answers": Answers(Integrity.INTACT).to_json(), "library": library}
        return Finding("c2pa", "c2pa.manifest.intact", details=details)

    return make
