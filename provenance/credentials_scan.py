"""The analyzer of Content Credentials: what `read_credential` says, as findings."""

import datetime as dt
import functools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import ClassVar

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.findings import Basis, Blob, Claim, Finding, Integrity, Severity
from counterproof.images import ImageFile
from counterproof.provenance.credentials import Credential, read_credential, signers_issuer
from counterproof.provenance.details import describe
from counterproof.provenance.manifest_store import carries_credential, library_version
from counterproof.provenance.products import list_date
from counterproof.provenance.revocation import query_url
from counterproof.provenance.soft_bindings import unread
from counterproof.provenance.trust import TrustStore, load_trust
from counterproof.settings import Settings

__all__ = ["CredentialsAnalyzer"]

BLOB_NAME = "c2pa.json"
_MAX_BLOB_BYTES = 2**20
_MAX_ANSWER_BYTES = 64 * 1024


class CredentialsAnalyzer(Analyzer):
    """Reads Content Credentials; a picture without any costs it next to nothing."""

    name: ClassVar[str] = "c2pa"
    prefixes: ClassVar[tuple[str, ...]] = ("c2pa",)
    stage: ClassVar[Stage] = Stage.QUICK
    timeout_s: ClassVar[float] = 20.0
    version: ClassVar[str] = "6"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)

    @functools.cached_property
    def trust(self) -> TrustStore:
        """The lists in force."""
        return load_trust(self.settings.home)

    def digest(self) -> str:
        """Return what the results depend on: lists, the library, whether the network is asked.

        The library's versions are among it, so that what an older one read is read again and
        never taken from a case.
        """
        words = (self.trust.digest(), list_date(), self.settings.online, library_version())
        return ":".join(map(str, words))

    def lists(self) -> dict[str, str]:
        """Return name → date of each trust list."""
        return self.trust.dates()

    def analyze(self, image: ImageFile) -> Iterable[Observation]:
        """Yield at most one `c2pa.manifest.*` finding, what its parents add, and the manifest."""
        if not carries_credential(image):
            return
        as_of = self.settings.as_of
        credential = read_credential(image, self.trust, as_of)
        fetch_error, remote = "", None
        if credential and credential.state == "unfetched" and self.settings.online:
            credential, fetch_error, remote = self._fetch(image, credential)
        if credential and self.settings.online:
            credential = self._ask_issuer(image, credential, remote)
        if credential is not None:
            yield from _findings(image, credential, self.settings, fetch_error)

    def _fetch(
        self, image: ImageFile, credential: Credential
    ) -> tuple[Credential, str, bytes | None]:
        from counterproof.errors import ProvenanceError
        from counterproof.provenance.remote import fetch

        try:
            store = fetch(credential.reading.url)
        except ProvenanceError as err:
            return credential, str(err), None
        found = read_credential(image, self.trust, self.settings.as_of, remote=store)
        return found or credential, "", store

    def _ask_issuer(
        self, image: ImageFile, credential: Credential, remote: bytes | None
    ) -> Credential:
        """Ask whether a listed signer's certificate was revoked, if nothing stapled says so."""
        from counterproof.errors import ProvenanceError
        from counterproof.provenance.remote import fetch

        standing = credential.active.standing
        known = credential.revocation.status in ("good", "revoked")
        if known or standing is None or standing.listed is None:
            return credential
        issuer = signers_issuer(standing, self.trust)
        url = query_url(standing.signature.chain[0], issuer) if issuer else ""
        if not url:
            return credential
        try:
            answer = fetch(url, max_bytes=_MAX_ANSWER_BYTES)
        except ProvenanceError:
            return credential  # not checked, as without the network
        as_of = self.settings.as_of
        found = read_credential(image, self.trust, as_of, remote=remote, ocsp=answer) or credential
        # what an issuer says of today may not hold tomorrow
        tomorrow = as_of + dt.timedelta(days=1)
        until = min(found.holds_until or tomorrow, tomorrow)
        return replace(found, holds_from=max(found.holds_from or as_of, as_of), holds_until=until)


def _findings(
    image: ImageFile, credential: Credential, settings: Settings, fetch_error: str
) -> Iterator[Observation]:
    details = describe(credential, settings.as_of)
    if fetch_error:
        details["fetch_error"] = fetch_error[:500]
        # what failed today is asked for again by the next scan, not taken from the case
        details["holds_until"] = settings.as_of.isoformat()
    evidence: tuple[str, ...] = ()
    if text := credential.reading.text:
        data = text.encode()
        if len(data) <= _MAX_BLOB_BYTES:
            evidence = (BLOB_NAME,)
            yield Blob(BLOB_NAME, "application/json", data)
        else:
            details["json_bytes"] = len(data)  # too large to keep
    basis, severity = Basis.DECLARED, Severity.INFO
    if credential.state == "verified":
        basis = Basis.CRYPTOGRAPHIC
    elif credential.state == "broken":
        basis, severity = Basis.CRYPTOGRAPHIC, Severity.HIGH
    yield Finding(
        CredentialsAnalyzer.name,
        f"c2pa.manifest.{credential.state}",
        credential.claim,
        basis,
        severity,
        evidence=evidence,
        details=details,
    )
    if credential.answers.integrity is not Integrity.BROKEN and (marks := unread(details)):
        yield Finding(
            CredentialsAnalyzer.name,
            "c2pa.soft_binding.unread",
            Claim.NONE,
            basis,
            evidence=evidence,
            details=marks,
        )
    if advisory := details.get("advisory"):
        yield Finding(
            CredentialsAnalyzer.name,
            "c2pa.signer.advisory",
            severity=Severity.HIGH,
            evidence=evidence,
            details={"advisory": advisory, "signer": details["signer"]},
        )
    if credential.broken_parents:
        yield Finding(
            CredentialsAnalyzer.name,
            "c2pa.parent.broken",
            Claim.ALTERED,
            Basis.CRYPTOGRAPHIC,
            Severity.HIGH,
            evidence=evidence,
            details={"codes": {key: list(v) for key, v in credential.broken_parents.items()}},
        )
    if credential.parent_claim is not Claim.NONE:
        yield Finding(
            CredentialsAnalyzer.name,
            "c2pa.parent.claim",
            credential.parent_claim,
            Basis.DECLARED,
            evidence=evidence,
            details={"statements": details["digital_source_types"]},
        )
