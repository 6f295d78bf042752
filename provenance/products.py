"""Which conforming product a signer's certificate names, by the list that C2PA publishes.

A product is named only for a signer whose chain reaches the official list: anyone can put the
name of a camera into a certificate of their own.

Source: C2PA Conforming Products List (NOTICE); C2PA Certificate Policy, subject names.
"""

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from counterproof.errors import ProvenanceError
from counterproof.findings import Trust
from counterproof.provenance.standing import Standing

__all__ = ["Product", "list_date", "product_named", "product_of"]

_SCHEMA = "counterproof.products/1"


@dataclass(frozen=True, slots=True)
class Product:
    """A product on the list.

    Attributes:
        name: of the product, the subject's common name.
        organisation: the subject's.
        applicant: who applied for conformance.
        levels: highest assurance level of each entry with these names, rising.
        conformant: first day of conformance, ISO 8601.
        list_date: of the list's latest entry, ISO 8601.
    """

    name: str
    organisation: str
    applicant: str
    levels: tuple[int, ...]
    conformant: str
    list_date: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "levels": list(self.levels)
        }


@functools.cache
def _list() -> tuple[str, dict[tuple[str, str], tuple[dict[str, Any], ...]]]:
    file = resources.files("counterproof.provenance") / "lists" / "products.json"
    value = json.loads(file.read_bytes())
    if value.get("schema") != _SCHEMA:
        raise ProvenanceError(f"expected schema {_SCHEMA}, got {value.get('schema')!r}")
    table: dict[tuple[str, str], tuple[dict[str, Any], ...]] = {}
    for row in value["products"]:
        key = (row["cn"], row["o"])
        table[key] = (*table.get(key, ()), row)
    return str(value["date"]), table


def list_date() -> str:
    """Return the day of the list's latest entry, ISO 8601."""
    return _list()[0]


def product_of(standing: Standing) -> Product | None:
    """Return the product of a signer on the official list; None if none is named."""
    if standing.trust is not Trust.OFFICIAL or not standing.signature.holds:
        return None
    return product_named(standing.signature.chain[0].subject)


def product_named(subject: x509.Name) -> Product | None:
    """Return the product with exactly these names; a unit counts where the list gives one."""

    def said(oid: x509.ObjectIdentifier) -> str:
        found = subject.get_attributes_for_oid(oid)
        return str(found[0].value).strip() if found else ""

    common, organisation = said(NameOID.COMMON_NAME), said(NameOID.ORGANIZATION_NAME)
    unit = said(NameOID.ORGANIZATIONAL_UNIT_NAME)
    day, table = _list()
    rows = [row for row in table.get((common, organisation), ()) if row["ou"] in ("", unit)]
    if not rows:
        return None
    return Product(
        common,
        organisation,
        rows[0]["applicant"],
        tuple(sorted({row["level"] for row in rows})),
        min(row["conformant"] for row in rows),
        day,
    )
