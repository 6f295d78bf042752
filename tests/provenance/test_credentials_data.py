"""Files of many makers, each with what its makers or its repository say of it.

`MANIFEST.csv` and `generated/expected.csv` give the expectations. Where ours differs from a
documented one, the difference stands in `EXPLAINED` with its reason, and in docs/credentials.md.
"""

import csv
import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from counterproof.audit.verdict import decide
from counterproof.findings import Finding, Verdict
from counterproof.images import ImageFile
from counterproof.provenance.advisories import NO_ADVISORIES
from counterproof.provenance.credentials_scan import CredentialsAnalyzer
from counterproof.provenance.manifest_store import carries_credential
from counterproof.settings import Settings

AS_OF = dt.date(2026, 11, 23)
NOT_PICTURES = ("trust/", "spec/", "certs-c2pa-rs/")

EXPLAINED = {
    # signed with the certificate of a test, in force until 2025-04-03, and without time stamp
    "microsoft/cards_trusted_without_timestamp.jpg": ("intact", "expired"),
    # its README says that the signature does not match; the library and our own check both
    # find that it does. What is wrong is the signer: expired, and on no list
    "public-testfiles/nikon-20221019-building.jpeg": ("intact", "expired"),
    # the hash matches; the library wants an exclusion of exactly the manifest, and the file,
    # older than that rule, excludes everything before the picture data
    "public-testfiles/truepic-20230212-camera.jpg": ("unchecked", "timestamped"),
    # names no hash algorithm, which the library refuses to read
    "c2pa-rs/no_alg.jpg": ("unchecked", "in_validity"),
}

# what each broken file is broken by, where it is not the active manifest itself
IN_A_PARENT = {
    "public-testfiles/adobe-20220124-CIE-sig-CA.jpg",
    "public-testfiles/adobe-20220124-E-uri-CIE-sig-CA.jpg",
    "c2pa-rs/CIE-sig-CA.jpg",
    "c2pa-rs/CACAE-uri-CA.jpg",
}

Look = Callable[..., tuple[list[Finding], Verdict]]


@pytest.fixture(scope="module")
def folder(test_data: Path) -> Path:
    found = test_data / "c2pa"
    if not found.is_dir():
        pytest.skip(f"no credentials at {found}")
    return found


@pytest.fixture(scope="module")
def look(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Look:
    """Look at a file with the lists that its expectation was written for."""
    roots = {
        "test-roots": (["trust/test_cert_root_bundle.pem"], []),
        "ms-test": (
            ["microsoft/trust/chain.pem", "microsoft/trust/test__expired__chain.pem"],
            ["microsoft/trust/digicert_TSA_CA.pem"],
        ),
        "encypher": (["encypher/trust/claim-es256.cert.pem"], []),
        "generated": (
            ["generated/root.pem", "generated/news_root.pem", "generated/expired_signer_root.pem"],
            ["generated/local_tsa_root.pem"],
        ),
        "official+interim": ([], []),
    }
    analyzers = {}
    for name, (signers, tsas) in roots.items():
        home = tmp_path_factory.mktemp("home")
        for kind, files in (("signer", signers), ("tsa", tsas)):
            for index, file in enumerate(files):
                path = home / "trust" / kind / f"{index}.pem"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes((folder / file).read_bytes())
        analyzers[name] = CredentialsAnalyzer(Settings(home=home, as_of=AS_OF))
        if name == "test-roots":  # whose keys are public, which is not what is tested here
            store = replace(analyzers[name].trust, advisories=NO_ADVISORIES)
            analyzers[name].trust = store

    def run(path: str, lists: str, *, alone: bool = False) -> tuple[list[Finding], Verdict]:
        file = folder / path
        image = ImageFile.open(file.read_bytes() if alone else file)
        seen = [item for item in analyzers[lists].analyze(image) if isinstance(item, Finding)]
        return seen, decide(seen)

    return run


def _rows(folder: Path) -> Iterator[dict[str, str]]:
    with (folder / "MANIFEST.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["trust"] and not row["path"].startswith(NOT_PICTURES):
                yield row


def _manifest(findings: list[Finding]) -> Finding | None:
    found = [item for item in findings if item.code.startswith("c2pa.manifest.")]
    assert len(found) <= 1
    return found[0] if found else None


def test_every_expectation_of_the_manifest(folder: Path, look: Look) -> None:
    checked = 0
    for row in _rows(folder):
        path, expected = row["path"], row["expected"]
        if expected.startswith(("real:", "name:")):
            continue
        findings, verdict = look(path, row["trust"])
        _check(path, expected, findings, verdict)
        checked += 1
    assert checked >= 60


def _check(path: str, expected: str, findings: list[Finding], verdict: Verdict) -> None:
    manifest, codes = _manifest(findings), {item.code for item in findings}
    if path in EXPLAINED:
        answers = verdict.answers
        assert (answers.integrity.value, answers.time.value) == EXPLAINED[path], path
        return
    if expected in ("none", "none-or-error", "invalid-or-error"):
        assert manifest is None, path
        return
    assert manifest is not None, path
    failures = manifest.details.get("codes", {}).get("failure", {})
    word, _, code = expected.partition(":")
    if word == "valid-but-bad-ingredient" or path in IN_A_PARENT:
        assert "c2pa.parent.broken" in codes, path
        broken = next(item for item in findings if item.code == "c2pa.parent.broken")
        assert code in broken.details["codes"], path
        assert verdict.status.value == "altered", path
    elif word in ("valid", "trusted", "valid-untrusted", "cawg"):
        assert verdict.answers.integrity.value == "intact", path
        assert "c2pa.parent.broken" not in codes, path
        assert verdict.answers.history.value != "broken", path
        if word == "trusted":
            assert manifest.state == "verified", path
        elif word == "valid-untrusted":
            assert verdict.answers.trust.value == "unlisted", path
    elif code == "signingCredential.expired":
        assert (manifest.state, verdict.answers.time.value) == ("intact", "expired"), path
    elif word == "invalid":
        assert manifest.state == "broken", path
        wanted = "assertion.hashedURI.mismatch" if code == "ingredient/claim missing" else code
        assert wanted in failures, path
        assert verdict.status.value == "altered", path
    elif word == "remote":
        assert manifest.state == "unfetched", path
    elif word in ("sidecar", "error"):
        assert manifest.state == "unchecked", path
    else:
        pytest.fail(f"{path}: no rule for {expected!r}")


def test_every_generated_expectation(folder: Path, look: Look) -> None:
    checked = 0
    with (folder / "generated" / "expected.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name, state = row["file"], row["state_with_roots"]
            alone = name == "remote_only.jpg"  # its store lies beside it: look without
            findings, verdict = look(f"generated/{name}", "generated", alone=alone)
            manifest = _manifest(findings)
            failed = set(row["failures_with_roots"].split(";")) - {""}
            if "ManifestNotFound" in state:
                assert manifest is None, name
            else:
                assert manifest is not None, name
                _check_generated(name, state, failed, manifest, verdict)
            checked += 1
    assert checked == 31


def _check_generated(
    name: str, state: str, failed: set[str], manifest: Finding, verdict: Verdict
) -> None:
    if "Remote" in state:
        assert manifest.state == "unfetched", name
    elif "Verify" in state:
        assert manifest.state == "unparsed", name
    elif any(code.endswith(".mismatch") for code in failed):
        assert (manifest.state, verdict.status.value) == ("broken", "altered"), name
        assert failed <= set(manifest.details["codes"]["failure"]), name
    elif name.startswith("laundered"):
        assert (manifest.state, verdict.status.value) == ("verified", "altered"), name
    else:  # trusted, an identity that is not, or a rule that does not concern bytes
        assert manifest.state == "verified", name
        assert set(manifest.details["malformed"]) == failed - {"cawg.x509.credential.untrusted"}, (
            name
        )
        assert verdict.answers.history.value == (
            "partial"
            if name in ("edited_unsigned_parent.jpg", "redacted.jpg", "no_actions.jpg")
            else "complete"
        ), name
    statuses = {
        "dst_digitalCapture.jpg": "captured_verified",
        "dst_compositeWithTrainedAlgorithmicMedia.jpg": "model_edited_verified",
        "dst_algorithmicMedia.jpg": "provenance_verified",
        "created_without_source_type.jpg": "provenance_verified",
        "no_actions.jpg": "provenance_verified",
        "edited_unsigned_parent.jpg": "provenance_verified",
    }
    if manifest.state == "verified" and verdict.status.value != "altered":
        assert verdict.status.value == statuses.get(name, "synthetic_verified"), name


def test_time_stamps(look: Look) -> None:
    """Only an authority on a list outlives the signer's certificate."""
    for path, lists, time in (
        ("generated/expired_signer_timestamped.jpg", "generated", "timestamped"),
        ("generated/expired_signer_timestamped.jpg", "test-roots", "expired"),
        ("generated/expired_signer_no_timestamp.jpg", "generated", "expired"),
        ("microsoft/cards_expired_with_timestamp.jpg", "ms-test", "timestamped"),
        # the library calls this one's time stamp trusted, as it does for every old claim
        ("microsoft/cards_expired_with_untrusted_timestamp.jpg", "ms-test", "expired"),
        # its authority's certificate has a `_` where none may be
        ("c2pa-rs-cawg/adobe_connected_identities.jpg", "test-roots", "timestamped"),
        # and this one's stamp was signed by the signer's own certificate
        ("real-outputs/trustnxt-icon-signed-timestamp.jpg", "test-roots", "in_validity"),
    ):
        assert look(path, lists)[1].answers.time.value == time, path


def test_real_outputs_of_models(look: Look) -> None:
    for path, status in (
        ("DALL-E_cloud_surfing_puppy.webp", "synthetic_verified"),
        ("firefly-1.png", "synthetic_verified"),
        ("flux-1.jpg", "synthetic_verified"),
        ("samsung_black_1.png", "model_edited_verified"),
        ("chatgpt-1.png", "synthetic_declared"),  # expired, and never time-stamped
        ("butteryfly.jpg", "synthetic_declared"),  # its signer is on no list in use
    ):
        assert look(f"real-outputs/{path}", "official+interim")[1].status.value == status, path


def test_no_intact_file_is_called_altered(folder: Path, look: Look) -> None:
    """The invariant, over every file: altered are those that are said to be, and no other."""
    altered = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (
            ".csv",
            ".json",
            ".pem",
            ".yml",
            ".yaml",
            ".cfg",
            ".pub",
            ".crt",
        ):
            continue
        if not path.is_file():
            continue
        name = str(path.relative_to(folder))
        findings, verdict = look(name, "test-roots")
        if verdict.status.value == "altered":
            altered.add(name)
        if (manifest := _manifest(findings)) is not None:
            assert manifest.details["answers"] == verdict.answers.to_json()
    allowed = {
        row["path"]
        for row in _rows(folder)
        if row["expected"].startswith(("invalid:", "valid-but-bad"))
        and "signingCredential" not in row["expected"]
    } - set(EXPLAINED)
    with (folder / "generated" / "expected.csv").open(newline="") as file:
        allowed |= {
            f"generated/{row['file']}"
            for row in csv.DictReader(file)
            if ".mismatch" in row["failures_with_roots"] or row["file"].startswith("laundered")
        }
    assert altered == allowed


def test_the_pre_filter_misses_no_carrier(folder: Path) -> None:
    import c2pa

    context: Any = c2pa.Context.from_dict(
        {
            "version": 1,
            "verify": {"remote_manifest_fetch": False, "verify_after_reading": False},
            "core": {"allowed_network_hosts": []},
        }
    )
    carriers = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (
            *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif", ".heic"),
            *(".heif", ".svg", ".dng"),
        ):
            continue
        image = ImageFile.open(path.read_bytes())
        try:
            reader = c2pa.Reader.try_create(image.metadata.mime, image.stream(), None, context)
            found = reader is not None
        except c2pa.C2paError as err:
            # refused as a credential or as remote: it is there; refused as a picture: it is not
            found = "could not be parsed" not in str(err)
        if found:
            carriers += 1
            assert carries_credential(image), path
    assert carriers >= 90
