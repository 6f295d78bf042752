"""What the codes of the C2PA library mean for the bytes of a picture.

Only a code that is listed here as *broken* can make a credential broken. A code that is not
listed at all leaves integrity unchecked: nobody is accused on a word that we do not know.

Source: C2PA 2.4 §15.2 (standard status codes); the names in c2pa-rs 0.91.
"""

from collections.abc import Iterable

__all__ = [
    "BROKEN",
    "HASH_MATCHES",
    "SIGNATURE_HOLDS",
    "broken_codes",
    "is_identity",
    "is_rule",
    "is_signer",
    "is_unknown",
]

BROKEN = frozenset(
    {
        "assertion.bmffHash.mismatch",
        "assertion.boxesHash.mismatch",
        "assertion.collectionHash.mismatch",
        "assertion.dataHash.mismatch",
        "assertion.hashedURI.mismatch",
        "assertion.missing",
        "assertion.multiAssetHash.mismatch",
        "claimSignature.mismatch",
        "hashedURI.mismatch",
        "ingredient.claimSignature.mismatch",
        "ingredient.hashedURI.mismatch",
        "ingredient.manifest.mismatch",
    }
)
"""Bytes that a signature covers are not the bytes that were signed."""

HASH_MATCHES = frozenset(
    {
        "assertion.bmffHash.match",
        "assertion.boxesHash.match",
        "assertion.collectionHash.match",
        "assertion.dataHash.match",
        "assertion.multiAssetHash.match",
    }
)
"""The bytes of the picture are those that were signed."""

SIGNATURE_HOLDS = "claimSignature.validated"

# What the signature and the clock say of the signer; trust and time are judged elsewhere.
_SIGNER = ("signingCredential.", "timeStamp.", "timeOfSigning.")
_SIGNER_CODES = frozenset({"claimSignature.outsideValidity", "claimSignature.insideValidity"})

# Statements of persons about the picture; their failure says nothing of its bytes.
_IDENTITY = ("cawg.", "com.adobe.")

# Rules of the standard that do not concern bytes: the credential is malformed, not altered.
_RULES = frozenset(
    {
        "assertion.action.ingredientMismatch",
        "assertion.action.malformed",
        "assertion.action.redacted",
        "assertion.action.redactionMismatch",
        "assertion.action.softBindingMissing",
        "assertion.bmffHash.additionalExclusionsPresent",
        "assertion.boxesHash.additionalExclusionsPresent",
        "assertion.cbor.invalid",
        "assertion.cloud-data.actions",
        "assertion.cloud-data.hardBinding",
        "assertion.cloud-data.malformed",
        "assertion.dataHash.additionalExclusionsPresent",
        "assertion.dataHash.redacted",
        "assertion.external-reference.malformed",
        "assertion.hardBinding.redacted",
        "assertion.inaccessible",
        "assertion.ingredient.malformed",
        "assertion.json.invalid",
        "assertion.metadata.disallowed",
        "assertion.multipleHardBindings",
        "assertion.notRedacted",
        "assertion.required.missing",
        "assertion.selfRedacted",
        "assertion.timestamp.malformed",
        "assertion.undeclared",
        "claim.cbor.invalid",
        "claim.malformed",
        "ingredient.claimSignature.missing",
        "ingredient.manifest.missing",
        "ingredient.malformed",
        "ingredient.unknownProvenance",
        "manifest.compressed.invalid",
        "manifest.inaccessible",
        "manifest.multipleParents",
        "manifest.timestamp.invalid",
        "manifest.timestamp.wrongParents",
        "manifest.unknownProvenance",
        "manifest.unreferenced",
        "manifest.update.invalid",
        "manifest.update.wrongParents",
    }
)


def is_signer(code: str) -> bool:
    """Tell whether a code concerns the signer or the time, not the bytes."""
    return code.startswith(_SIGNER) or code in _SIGNER_CODES


def is_identity(code: str) -> bool:
    """Tell whether a code concerns an identity assertion, not the picture's credential."""
    return code.startswith(_IDENTITY)


def is_rule(code: str) -> bool:
    """Tell whether a code names a rule of the standard that does not concern bytes."""
    return code in _RULES


def is_unknown(code: str) -> bool:
    """Tell whether a failure's code is none whose meaning we know, or says only "unchecked"."""
    return not (code in BROKEN or is_signer(code) or is_identity(code) or is_rule(code))


def broken_codes(
    failures: Iterable[tuple[str, str]], successes: Iterable[tuple[str, str]]
) -> tuple[str, ...]:
    """Return the codes that say "changed after signing", sorted.

    A binding that the library calls both matching and mismatching is one whose bytes agree and
    whose layout it does not accept (early Truepic files): nothing says that bytes changed.

    Args:
        failures: code and address of what each is about.
        successes: the same.
    """
    matched = {
        (code.removesuffix(".match"), url) for code, url in successes if code in HASH_MATCHES
    }
    return tuple(
        sorted(
            {
                code
                for code, url in failures
                if code in BROKEN and (code.removesuffix(".mismatch"), url) not in matched
            }
        )
    )
