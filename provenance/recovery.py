"""Find the credential that a copy has lost: by its watermark, then by its fingerprint.

A watermark can be copied and a fingerprint can collide, so what is found counts for nothing
until three things are checked: the stored manifest's signature holds, the signed manifest itself
names the mark, and the picture's content is what was bound to it. Then it is a `match`; with
another content it is a `mismatch`, which claims nothing. Where too little of the picture is to be
seen to tell, it is `unchecked`.

The bytes of a recovered picture are never those that were signed. So a match repeats what the
manifest says as a declaration; it is a *mark* only where a private watermark, the content signed
with it and a listed signer agree, and a capture is never claimed: it is a statement about the
pixels as they were.
"""

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from counterproof.analysis import Analyzer, Observation
from counterproof.errors import UserError
from counterproof.findings import Basis, Claim, Finding, Severity, Time, Trust
from counterproof.images import ImageFile
from counterproof.provenance.credentials import Credential
from counterproof.provenance.store import (
    Kept,
    ManifestStore,
    default_store,
    fingerprint,
    read_alone,
    signature_holds,
    signed_bindings,
)
from counterproof.settings import Settings

if TYPE_CHECKING:
    from counterproof.provenance.trust import TrustStore
    from counterproof.provenance.watermark import Reading

__all__ = ["Recovered", "Recovery", "RecoveryAnalyzer", "store_paths"]

LOOKUP_RADIUS = 48
"""Most bits of 256 by which a fingerprint may differ to be looked at, where the manifest itself
says what content it belongs to."""

ALONE_RADIUS = 32
"""The same where nothing but the store says so: below the 40 bits within which `audit.duplicates`
calls pictures near-duplicates."""

WHOLE = 0.75
"""Share of the picture that the found content must fill for its claim to be repeated."""

Way: TypeAlias = Literal["watermark", "fingerprint"]

_ADMISSIONS = (Claim.SYNTHETIC, Claim.MODEL_EDITED)
_VOUCHED = (Trust.OFFICIAL, Trust.INTERIM, Trust.USER)
_IN_FORCE = (Time.TIMESTAMPED, Time.IN_VALIDITY)


@dataclass(frozen=True, slots=True)
class Recovered:
    """A manifest that a picture led to.

    Attributes:
        status: `match`, `mismatch` or `unchecked`.
        by: `watermark` or `fingerprint`.
        kept: the manifest.
        credential: what it says, and who signed; its signature holds.
        compared: what the content was compared with: `signed` (the content hash in the
            manifest), `store` (the fingerprint that only the store vouches for), or ''.
        agreement: share of content bits that agree, 0.5 to be expected for another picture.
        bits: weight of the bits that were compared.
        covered: share of the picture that the found content fills.
        private: whether one of the given keys read the watermark.
    """

    status: Literal["match", "mismatch", "unchecked"]
    by: Way
    kept: Kept
    credential: Credential
    compared: str
    agreement: float
    bits: float
    covered: float
    private: bool = False

    @property
    def vouched(self) -> bool:
        """Whether a listed signer signed it while the certificate was in force."""
        answers = self.credential.answers
        return answers.trust in _VOUCHED and answers.time in _IN_FORCE

    @property
    def claim(self) -> Claim:
        """What the picture may be said to be: what the manifest admits, and never a capture."""
        if self.status != "match" or self.covered < WHOLE:
            return Claim.NONE
        active = self.credential.active
        steps = [active] if self.credential.broken_parents else active.steps()
        said = {item.claim for step in steps for item in step.source_types}
        return next((claim for claim in _ADMISSIONS if claim in said), Claim.NONE)

    @property
    def basis(self) -> Basis:
        """`mark` where a private watermark, signed content and a listed signer agree."""
        own = {item.claim for item in self.credential.active.source_types}
        if self.private and self.compared == "signed" and self.vouched and self.claim in own:
            return Basis.MARK
        return Basis.DECLARED

    def details(self) -> dict[str, Any]:
        """Return how it was found and compared, as JSON values."""
        credential = self.credential
        standing = credential.active.standing
        found: dict[str, Any] = {
            "by": self.by,
            "manifest": self.kept.id,
            "store": self.kept.store.name,
            "compared": self.compared,
            "agreement": round(self.agreement, 3),
            "compared_bits": round(self.bits, 1),
            "covered": round(self.covered, 3),
            "private": self.private,
            "answers_of_manifest": {
                "trust": credential.answers.trust.value,
                "time": credential.answers.time.value,
                "origin": credential.answers.origin.value,
            },
            "signer": standing.signer_json() if standing else None,
        }
        if self.kept.distance is not None:
            found["distance"] = self.kept.distance
        for name in ("holds_from", "holds_until"):
            if day := getattr(credential, name):
                found[name] = day.isoformat()
        return found


def store_paths(settings: Settings) -> list[Path]:
    """Return the stores that are asked: those named, and the default one where it exists."""
    own = default_store(settings.home)
    return list(dict.fromkeys([*settings.stores, *([own] if own.is_file() else [])]))


class Recovery:
    """Looks for lost credentials in manifest stores."""

    def __init__(
        self,
        stores: Sequence[ManifestStore],
        trust: "TrustStore",
        as_of: dt.date,
        keys: Sequence[bytes] = (),
    ) -> None:
        self.stores = stores
        self.trust = trust
        self.as_of = as_of
        self.keys = keys

    def find(
        self,
        image: ImageFile,
        ways: Sequence[Way] = ("watermark", "fingerprint"),
        hint: tuple[str, bytes] | None = None,
    ) -> list[Recovered]:
        """Return what a picture leads to: a match alone, or all that does not match.

        A picture in which no watermark leads to a match is looked up by its fingerprint. Costs
        one reading of the watermark (about 20 ms at 12 MP, 120 ms where there is none), unless
        another analyzer has made it, and 5 ms for each manifest that is looked at.

        Args:
            image: the picture.
            ways: what to look it up by.
            hint: algorithm and value of a binding that somebody names; what it leads to counts
                only if the picture's content matches.

        Raises:
            ImageError: if the pixels cannot be read.
            UserError: if a store is damaged.
        """
        from counterproof.provenance import watermark

        pixels = image.pixels(max_side=watermark.READING_EDGE)
        found: list[Recovered] = []
        if "watermark" in ways:
            reading = watermark.read_image(image, self.keys)
            found += self._by_watermark(image, pixels, reading)
        if hint is not None:
            named = (kept for store in self.stores for kept in store.find(*hint))
            found += self._matching(image, pixels, named)
        if "fingerprint" in ways and not any(item.status == "match" for item in found):
            found += self._by_fingerprint(image, pixels)
        found.sort(key=lambda item: -item.agreement)
        matches = [item for item in found if item.status == "match"]
        others: dict[str, Recovered] = {item.kept.id: item for item in reversed(found)}
        return matches[:1] or list(others.values())[::-1]

    def checked(self, kept: Kept) -> Credential | None:
        """Return what a stored manifest says if it is as it was signed, under its own name."""
        credential = read_alone(kept.data, self.trust, self.as_of)
        if credential is None or credential.reading.active != kept.id:
            return None
        return credential if signature_holds(credential) else None

    def _by_watermark(
        self, image: ImageFile, pixels: Any, reading: "Reading | None"
    ) -> Iterator[Recovered]:
        if reading is None or reading.payload is None:
            return
        named = (reading.payload.algorithm, reading.payload.to_bytes())
        for store in self.stores:
            for kept in store.find(*named):
                credential = self.checked(kept)
                if credential is not None and named in signed_bindings(credential):
                    found = self._compare(image, pixels, kept, credential, reading)
                    yield dataclasses.replace(found, private=reading.private)

    def _by_fingerprint(self, image: ImageFile, pixels: Any) -> Iterator[Recovered]:
        """Yield matches only: a near fingerprint of another picture is no news."""
        value = fingerprint(image)
        if value is None:
            return
        near = (kept for store in self.stores for kept in store.near(value, LOOKUP_RADIUS))
        yield from self._matching(image, pixels, near)

    def _matching(
        self, image: ImageFile, pixels: Any, manifests: Iterable[Kept]
    ) -> Iterator[Recovered]:
        for kept in manifests:
            credential = self.checked(kept)
            if credential is None:
                continue
            found = self._compare(image, pixels, kept, credential, None)
            if found.status == "match":
                yield found

    def _compare(
        self,
        image: ImageFile,
        pixels: Any,
        kept: Kept,
        credential: Credential,
        reading: "Reading | None",
    ) -> Recovered:
        """Compare a picture's content with what was bound to a manifest.

        Args:
            image: the picture.
            pixels: of it, at most `watermark.READING_EDGE` long.
            kept: the manifest.
            credential: what it says.
            reading: the watermark that led to it; None for a fingerprint.
        """
        from counterproof.provenance import watermark_bind, watermark_plane
        from counterproof.provenance.watermark_code import FULL

        by: Way = "fingerprint" if reading is None else "watermark"
        hashes = [v for alg, v in signed_bindings(credential) if alg == watermark_bind.ALGORITHM]
        full = reading is None or (
            reading.payload is not None and reading.payload.profile == "full"
        )
        if len(hashes) == 1 and len(hashes[0]) == watermark_bind.LENGTH and full:
            gray = watermark_plane.shrink(watermark_plane.luma(pixels), 768)
            ratio = gray.shape[1] / pixels.shape[1], gray.shape[0] / pixels.shape[0]
            if reading is None:
                geometry = watermark_plane.upright(gray.shape, FULL)
            else:
                geometry = _scaled(reading.geometry, ratio)
            inverted = reading is not None and reading.inverted
            try:
                share, bits = watermark_bind.compare(hashes[0], gray, geometry, inverted=inverted)
            except ValueError:
                share, bits = 0.5, 0.0
            status = _STATUS[watermark_bind.judge(share, bits).value]
            covered = _covered(gray.shape, geometry, hashes[0][0], hashes[0][1])
            return Recovered(status, by, kept, credential, "signed", share, bits, covered)
        return self._compare_fingerprint(image, kept, credential, by)

    def _compare_fingerprint(
        self,
        image: ImageFile,
        kept: Kept,
        credential: Credential,
        by: Way,
    ) -> Recovered:
        """Compare with the fingerprint in the store, which only whole, upright copies have."""
        value, distance = fingerprint(image), kept.distance
        if distance is None and value is not None:
            near = {
                item.id: item.distance
                for store in self.stores
                if store.path == kept.store
                for item in store.near(value, ALONE_RADIUS, most=64)
            }
            distance = near.get(kept.id)
        if value is None or distance is None or distance > ALONE_RADIUS:
            # cropped, turned, or another picture: nothing here tells which
            return Recovered("unchecked", by, kept, credential, "", 0.5, 0.0, 0.0)
        share = 1 - distance / 256
        return Recovered("match", by, kept, credential, "store", share, 256.0, 1.0)


_STATUS: dict[str, Literal["match", "mismatch", "unchecked"]] = {
    "match": "match",
    "transplanted": "mismatch",
    "unchecked": "unchecked",
}


def _scaled(geometry: Any, ratio: tuple[float, float]) -> Any:
    """Bring a map of chips to pixels to a picture of another size."""
    import numpy as np

    scale = np.array(ratio)
    return dataclasses.replace(
        geometry,
        matrix=geometry.matrix * scale[:, None],
        offset=(geometry.offset + 0.5) * scale - 0.5,
    )


def _covered(shape: tuple[int, ...], geometry: Any, rows: int, columns: int) -> float:
    """Return the share of a picture that the filled part of a plane lies over."""
    import cv2
    import numpy as np

    from counterproof.provenance.watermark_bind import CHIPS

    # a cell that the picture's edge cuts is not counted as filled: one more on each axis
    half = np.array([columns + 1, rows + 1]) * CHIPS / 2
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    plane = (corners @ geometry.matrix.T + geometry.offset + 0.5).astype(np.float32)
    height, width = shape[:2]
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    area, _ = cv2.intersectConvexConvex(plane, frame)
    return float(min(1.0, area / (width * height)))


class RecoveryAnalyzer(Analyzer):
    """Looks in manifest stores for the credential of a picture that carries none.

    Without a store it does nothing, and costs nothing.
    """

    name: ClassVar[str] = "recovery"
    prefixes: ClassVar[tuple[str, ...]] = ("recovery",)
    version: ClassVar[str] = "1"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        for path in settings.stores:
            ManifestStore.open(
                path
            ).__exit__()  # a defective store is named before the first picture

    @cached_property
    def recovery(self) -> Recovery | None:
        """The open stores; None if there are none."""
        from counterproof.provenance.trust import load_trust
        from counterproof.provenance.watermark_scan import WatermarkAnalyzer

        paths = store_paths(self.settings)
        if not paths:
            return None
        stores = [ManifestStore.open(path) for path in paths]
        keys = WatermarkAnalyzer(self.settings).keys
        return Recovery(stores, load_trust(self.settings.home), self.settings.as_of, keys)

    def digest(self) -> str:
        """Return what the results depend on: stores, trust lists and keys."""
        found = self.recovery
        if found is None:
            return ""
        parts = [store.digest() for store in found.stores]
        parts += [hashlib.sha256(b"counterproof" + key).hexdigest() for key in found.keys]
        return ":".join([*parts, found.trust.digest()])

    def analyze(self, image: ImageFile) -> Iterable[Observation]:
        """Yield what the picture leads to; nothing for one that has its credential."""
        if self.recovery is None or image.blocks("c2pa") or image.sidecar is not None:
            return
        for found in self.recovery.find(image):
            severity = Severity.MEDIUM if found.claim in _ADMISSIONS else Severity.INFO
            yield Finding(
                self.name,
                f"recovery.{found.status}",
                found.claim,
                found.basis if found.status == "match" else Basis.DECLARED,
                severity,
                details=found.details(),
            )


def open_stores(paths: Iterable[Path], stack: ExitStack) -> list[ManifestStore]:
    """Open stores for as long as a stack is.

    Raises:
        UserError: if there are none, or one cannot be read.
    """
    found = [stack.enter_context(ManifestStore.open(path)) for path in paths]
    if not found:
        raise UserError("there is no manifest store yet: `mark` makes one, or name one (--store)")
    return found
