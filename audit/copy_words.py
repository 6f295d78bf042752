"""Copies in words: how a copy was turned, how it was found, on which list its hash stands."""

from collections.abc import Mapping
from typing import Any

from counterproof.findings import Relation
from counterproof.text import Catalogue

__all__ = ["how", "listed", "related", "said", "turn"]


def turn(transform: str, words: Catalogue) -> str:
    """Say how a copy was turned; empty where it was not.

    Args:
        transform: as `copy_search.Match.transform`.
        words: of the language.
    """
    rest, _, degrees = transform.partition("turned_")
    said = []
    if name := rest.rstrip("_"):
        said = [words.ui(f"index.turn.{name}")] if name != "none" else []
    if degrees:
        said.append(words.ui("index.turn.turned", degrees=degrees))
    return words.ui("list.separator").join(said)


def how(match: Mapping[str, Any], words: Catalogue) -> str:
    """Say how a copy was turned, if it was, and what tells.

    Args:
        match: as `copy_search.Match.to_json` gives it, or the details of an audit's pair.
        words: of the language.
    """
    by = words.ui("index.how.by", by=words.ui(f"index.by.{match['by']}"))
    turned = turn(match["transform"], words)
    return words.ui("list.separator").join([turned, by] if turned else [by])


def said(picture: str, match: Mapping[str, Any], words: Catalogue) -> str:
    """Say which work a picture shows, how much of it, and how."""
    percent = f"{100 * match['overlap']:.0f}"
    reference = match["path"]
    figures = {"picture": picture, "reference": reference, "percent": percent}
    return words.ui("index.match", **figures, how=how(match, words))


def listed(picture: str, hit: Mapping[str, Any], words: Catalogue) -> str:
    """Say on which list the hash of a picture stands, and what confirms it."""
    named = {key: str(hit[key]) for key in ("list", "label", "hash")}
    text = words.ui("index.hit", picture=picture, bits=str(hit["distance_bits"]), **named)
    match = hit.get("confirmed_by")
    if not match:
        return text
    percent = f"{100 * match['overlap']:.0f}"
    return words.ui("index.confirmed", hit=text, reference=match["path"], percent=percent)


def related(picture: str, relation: Relation, words: Catalogue) -> str:
    """Say what `audit.copies` found of a picture; empty of any other relation."""
    details = relation.details
    if relation.code == "copy.of":
        return said(picture, details, words)
    if relation.code == "copy.listed":
        return listed(picture, details, words)
    if relation.code == "rights.lost":
        return words.ui("index.lost", picture=picture, reference=details["reference"])
    return ""
