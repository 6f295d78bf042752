"""Products are named for signers on the official list, and for nobody else."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from counterproof.audit.quotes import quotes
from counterproof.findings import Trust
from counterproof.images import ImageFile
from counterproof.provenance.credentials import read_credential
from counterproof.provenance.products import list_date, product_named, product_of
from counterproof.provenance.trust import load_trust
from counterproof.text import catalogue

USAGES = ("1.3.6.1.4.1.62558.2.1", "1.3.6.1.5.5.7.3.4")


def named(common: str, organisation: str, unit: str = "") -> x509.Name:
    pairs = [(NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, organisation)]
    pairs += [(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in pairs])


def test_a_product_by_its_names() -> None:
    found = product_named(named("Pixel Camera", "Google LLC"))
    assert found is not None
    assert (found.name, found.levels, found.conformant) == ("Pixel Camera", (2,), "2025-06-27")
    assert found.list_date == list_date() >= "2026-08-05"


@pytest.mark.parametrize(
    "names",
    [
        ("Pixel Camera", "Somebody Else"),
        ("pixel camera", "Google LLC"),
        ("Google Photos", "Google LLC"),  # the list names its units
        ("Google Photos", "Google LLC", "Another unit"),
        ("", ""),
    ],
)
def test_near_names_name_nothing(names: tuple[str, ...]) -> None:
    assert product_named(named(*names) if names[0] else x509.Name([])) is None


def test_a_unit_that_the_list_gives() -> None:
    assert product_named(named("Google Photos", "Google LLC", "Google Photos iOS")) is not None


def test_three_signers_get_three_lines(signing: Any, make_authority: Any) -> None:
    look_alike = make_authority("Pixel")
    look_alike.leaf = signing.certificate(
        named("Pixel Camera", "Google LLC"),
        look_alike.key,
        look_alike.intermediate.subject,
        look_alike.middle_key,
        usages=USAGES,
    )
    data, _ = signing.sign(look_alike, signing.picture(3))
    unknown = signing.look(data)
    assert unknown.details["product"] is None
    lines = {line.label: line.value for line in quotes(unknown.manifest, catalogue("en"))}
    assert lines["claims to be"] == "Pixel Camera"
    assert "product" not in lines
    mine = signing.look(data, look_alike)  # on the user's own list: a name, and no product
    assert mine.details["product"] is None
    assert mine.details["signer"]["name"] == "Pixel Camera"

    store = load_trust(signing.home(look_alike))
    official = replace(
        store, lists=tuple(replace(i, trust=Trust.OFFICIAL) for i in store.of_kind("signer"))
    )
    image = ImageFile.open(data)
    found = read_credential(image, official, dt.datetime.now(dt.UTC).date())
    assert found is not None
    assert found.active.standing is not None
    product = product_of(found.active.standing)
    assert product is not None
    details = unknown.details | {
        "product": product.to_json(),
        "signer": found.active.standing.signer_json(),
    }
    finding = replace(unknown.manifest, details=details)
    lines = {line.label: line.value for line in quotes(finding, catalogue("en"))}
    assert lines["product"].startswith("Pixel Camera, assurance level up to 2, conforming since")


@pytest.mark.parametrize("self_signed", [False, True])
def test_conforming_legacy_and_look_alike_read_differently(
    self_signed: bool, signing: Any, make_authority: Any
) -> None:
    """The same names three times: on the official list, on the interim list, on none."""
    maker = make_authority("Pixel")
    name = named("Pixel Camera", "Google LLC")
    issuer, key = maker.intermediate.subject, maker.middle_key
    if self_signed:
        issuer, key = name, maker.key
    maker.leaf = signing.certificate(name, maker.key, issuer, key, usages=USAGES)
    data, _ = signing.sign(maker, signing.picture(4))
    seen: dict[Trust, tuple[str, str, bool]] = {}
    for trust in (Trust.OFFICIAL, Trust.INTERIM, None):
        store = load_trust(signing.home(maker) if trust else None)
        if trust:
            lists = tuple(replace(item, trust=trust) for item in store.of_kind("signer"))
            store = replace(store, lists=lists)
        found = read_credential(ImageFile.open(data), store, dt.datetime.now(dt.UTC).date())
        assert found is not None
        standing = found.active.standing
        assert standing is not None
        line = catalogue("en").answer("trust", found.answers.trust)["says"]
        called = next(iter(standing.signer_json()))
        seen[found.answers.trust] = (line, called, product_of(standing) is not None)
    if self_signed:  # no list names its issuer, whatever it calls itself
        assert set(seen) == {Trust.UNLISTED}
        assert seen[Trust.UNLISTED][1:] == ("claims_to_be", False)
        return
    assert len({line for line, *_ in seen.values()}) == 3
    assert [seen[trust][1:] for trust in (Trust.OFFICIAL, Trust.INTERIM, Trust.UNLISTED)] == [
        ("name", True),
        ("name", False),
        ("claims_to_be", False),
    ]
