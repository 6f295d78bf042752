"""The watermark analyzer: what a scan says of a picture's mark.

A public mark is a declaration that anyone could have drawn (`watermark.unchecked`). A private
one counts as a mark (`watermark.match`) when a binding made with the same key ties its id to
this picture's content, and is called copied (`watermark.transplanted`) when the binding's
content is another. Bindings are kept in `settings.home/watermarks`, one file per payload; `mark`
writes them with `keep`. Pilots without a message give `watermark.likely`.
"""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from counterproof.analysis import Analyzer, Observation
from counterproof.errors import UserError
from counterproof.findings import Basis, Claim, Finding, Severity
from counterproof.images import ImageFile
from counterproof.provenance import watermark, watermark_plane
from counterproof.provenance.watermark_bind import Binding, Content, compare, judge
from counterproof.provenance.watermark_code import MarkClass, Payload
from counterproof.settings import Settings

__all__ = ["WatermarkAnalyzer", "find", "keep"]

CLAIMS = {
    MarkClass.GENERATED: Claim.SYNTHETIC,
    MarkClass.MODEL_EDITED: Claim.MODEL_EDITED,
    MarkClass.MODEL_COMPOSITE: Claim.MODEL_EDITED,
    MarkClass.CAPTURED: Claim.CAPTURED,
}

MOST_KEYS = 100
"""Keys for which the false-positive bound is stated."""


def keep(binding: Binding, home: Path) -> Path:
    """Keep a binding where scans look for it; return its file.

    Raises:
        UserError: if it cannot be written.
    """
    folder = home / "watermarks"
    file = folder / f"{binding.payload.to_bytes().hex()}.binding"
    partial = file.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(binding.to_bytes())
        return partial.replace(file)
    except OSError as err:
        raise UserError(f"{file}: {err.strerror}") from err


def find(payload: Payload, home: Path) -> Binding | None:
    """Return the binding kept for a payload; None if there is none or it is damaged."""
    file = home / "watermarks" / f"{payload.to_bytes().hex()}.binding"
    try:
        return Binding.from_bytes(file.read_bytes())
    except (OSError, ValueError):
        return None


class WatermarkAnalyzer(Analyzer):
    """Reads the public watermark, and private ones for which a key file is given."""

    name: ClassVar[str] = "watermark"
    prefixes: ClassVar[tuple[str, ...]] = ("watermark",)
    version: ClassVar[str] = "1"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if len(settings.keys) > MOST_KEYS:
            raise UserError(f"expected at most {MOST_KEYS} key files, got {len(settings.keys)}")

    @cached_property
    def keys(self) -> list[bytes]:
        """The private keys, read when first needed."""
        found = []
        for file in self.settings.keys:
            try:
                data = file.read_bytes()
            except OSError as err:
                raise UserError(f"{file}: {err.strerror}") from err
            if not 16 <= len(data) <= 4096:
                raise UserError(f"{file}: expected a key of 16 to 4,096 bytes, got {len(data):,}")
            found.append(data)
        return found

    def digest(self) -> str:
        """Keys, as a hash, and which bindings are kept: each changes what can be read."""
        folder = self.settings.home / "watermarks"
        kept = sorted(file.name for file in folder.glob("*.binding")) if folder.is_dir() else []
        if not self.keys and not kept:
            return ""
        mixed = hashlib.sha256(b"counterproof keys and bindings")
        for part in (*self.keys, *(name.encode() for name in kept)):
            mixed.update(hashlib.sha256(part).digest())
        return mixed.hexdigest()

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        """Yield at most one finding."""
        reading = watermark.read_image(image, self.keys)
        if reading is None:
            return
        details: dict[str, Any] = {"score": round(reading.score, 2), "inverted": reading.inverted}
        if reading.payload is None:
            yield Finding(self.name, "watermark.likely", basis=Basis.STATISTICAL, details=details)
            return
        payload = reading.payload
        details |= {
            "algorithm": payload.algorithm,
            "id": f"{payload.id:0{(payload.id_bits + 3) // 4}x}",
            "class": payload.mark_class.value,
            "private": reading.private,
        }
        content = Content.UNCHECKED
        key = self.keys[reading.key] if reading.key is not None else None
        binding = find(payload, self.settings.home)
        if binding is not None and binding.payload == payload and binding.holds(key):
            gray = watermark_plane.luma(image.pixels(max_side=watermark.READING_EDGE))
            agreement, bits = compare(
                binding.content, gray, reading.geometry, inverted=reading.inverted
            )
            content = judge(agreement, bits)
            details |= {
                "signer": binding.signer,
                "agreement": round(agreement, 3),
                "compared_bits": round(bits, 1),
            }
        claim, basis = CLAIMS[payload.mark_class], Basis.DECLARED
        severity = Severity.MEDIUM if claim is not Claim.CAPTURED else Severity.INFO
        if content is Content.TRANSPLANTED:
            claim, severity = Claim.NONE, Severity.HIGH
            basis = Basis.MARK if reading.private else Basis.DECLARED
        elif content is Content.MATCH and reading.private:
            basis = Basis.MARK
        else:
            content = Content.UNCHECKED
        yield Finding(
            self.name,
            f"watermark.{content.value}",
            claim=claim,
            basis=basis,
            severity=severity,
            details=details,
        )
