"""How a copy was turned and how it was found, in words."""

from collections.abc import Mapping
from typing import Any

from counterproof.text import Catalogue

__all__ = ["how", "turn"]


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
