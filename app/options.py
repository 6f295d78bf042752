"""What several commands have in common: their options, how output is named, JSON on stdout.

One place for each, so that an option has the same name, words and default everywhere.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from counterproof.errors import UserError
from counterproof.text import LANGUAGES

__all__ = [
    "as_of_option",
    "check_suffix",
    "format_option",
    "json_text",
    "keys_option",
    "language_option",
    "online_option",
    "outputs_option",
    "print_json",
    "profile_option",
    "write_json",
]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

language_option = click.option("--lang", type=click.Choice(LANGUAGES), help="Language of the text.")

online_option = click.option(
    "--online", is_flag=True, default=None, help="Fetch credentials kept on a server."
)

keys_option = click.option(
    "--key", "keys", multiple=True, metavar="FILE", help="Secret of a private watermark."
)


def as_of_option(text: str = "Judge dates as of this day, YYYY-MM-DD.") -> Decorator:
    """`--as-of DATE`: the day that "today" means."""
    return click.option("--as-of", metavar="DATE", help=text)


def profile_option(default: str = "standard") -> Decorator:
    """`--profile`: how much a scan looks at."""
    return click.option(
        "--profile",
        type=click.Choice(["quick", "standard", "deep"]),
        default=default,
        show_default=True,
        help="How much to look at.",
    )


def format_option(*kinds: str) -> Decorator:
    """`--format`, in the command `fmt`: what stdout gets; the first kind unless told."""
    return click.option(
        "--format",
        "fmt",
        type=click.Choice(kinds),
        default=kinds[0],
        show_default=True,
        help="What stdout gets.",
    )


def outputs_option(text: str, *, required: bool = False) -> Decorator:
    """`-o FILE`, in the command `outputs`: repeatable; its suffix says what a file gets."""
    return click.option(
        *("-o", "--output", "outputs"), multiple=True, required=required, metavar="FILE", help=text
    )


def check_suffix(name: str, *kinds: str) -> str:
    """Return the kind of output that a file's suffix names; call it before the work begins.

    Args:
        name: of the file; `-`, stdout, gets the first kind.
        kinds: such as `html` and `json`.

    Raises:
        UserError: if it names none of them.
    """
    if name == "-":
        return kinds[0]
    suffix = Path(name).suffix.lower().lstrip(".")
    suffix = "html" if suffix == "htm" else suffix
    if suffix not in kinds:
        known = " or ".join(f".{kind}" for kind in kinds)
        raise UserError(f"{name}: expected a name that ends in {known}")
    return suffix


def json_text(value: Any) -> bytes:
    """Return a value as JSON for a file or a pipe, whatever bytes its names were made of."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def print_json(value: Any) -> None:
    """Write a value to stdout as JSON."""
    sys.stdout.buffer.write(json_text(value))
    sys.stdout.buffer.flush()


def write_json(name: str, value: Any) -> None:
    """Write a value to a file as JSON, under a temporary name first; `-` is stdout."""
    from counterproof.audit.writer import open_atomically

    with open_atomically(name) as stream:
        stream.write(json_text(value))
