"""`counterproof index build|add|import|search`: reference works, and the copies of them."""

import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from counterproof.app.options import check_suffix, language_option
from counterproof.errors import ImageError, UserError

if TYPE_CHECKING:
    from counterproof.audit.copy_page import Pair
    from counterproof.audit.sources import Ref
    from counterproof.images import ImageFile
    from counterproof.settings import Settings
    from counterproof.text import Catalogue

__all__ = ["index"]


@click.group()
def index() -> None:
    """Keep an index of reference works, and find copies of them.

    \b
    counterproof index build catalogue/ -o works.index
    counterproof index search works.index suspects/ -o pairs.html
    counterproof scan suspects/ --index works.index
    """  # noqa: D301 - click wants the character itself before lines that it must not join


@index.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("-o", "--output", required=True, metavar="INDEX", help="The index to write.")
def build(paths: tuple[str, ...], output: str) -> None:
    """Index pictures and folders. A build that was stopped goes on where it was."""
    _add(output, paths, create=True)


@index.command()
@click.argument("index_file", metavar="INDEX")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
def add(index_file: str, paths: tuple[str, ...]) -> None:
    """Add pictures, folders or whole indices to an index."""
    _add(index_file, paths, create=False)


def _add(target: str, paths: tuple[str, ...], *, create: bool) -> None:
    from counterproof.app import progress
    from counterproof.audit.copy_index import CopyIndex
    from counterproof.audit.sources import expand
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings()
    words = catalogue(settings.language)
    for path in paths:
        if not os.path.exists(path):
            raise UserError(f"{path}: no such file or folder")
    shown = progress.wanted(False)
    total = sum(1 for _ in expand(paths)) if shown else 0
    fresh = create and not os.path.exists(target)
    with CopyIndex.open(target, create=create) as works:
        try:
            with progress.bar(total, settings.language, shown) as advance:
                done = works.add(paths, settings, advance)
            works.sort()  # once, so that searches need not
        except KeyboardInterrupt:
            figures = {"n": len(works), "file": target}
            click.echo(words.ui("index.interrupted", **figures), err=True)
            sys.exit(130)
        for problem in done.problems:
            click.echo(problem, err=True)
        if count := len(works):
            figures = {"n": done.new, "known": done.known, "total": count}
            click.echo(words.ui("index.added", **figures, file=target), err=True)
    if not count:
        if fresh:
            os.unlink(target)
        raise UserError(f"{', '.join(paths)}: expected pictures to index, found none readable")
    if done.problems:
        sys.exit(3)


@index.command(name="import")
@click.argument("lists", nargs=-1, required=True, metavar="LIST.csv…")
@click.option("-o", "--output", required=True, metavar="INDEX", help="The index to add it to.")
def import_(lists: tuple[str, ...], output: str) -> None:
    """Take in hash lists: CSV of hash, label, source, with PDQ (hex) or SHA-256 hashes.

    A column `type` says `pdq` or `sha256`; without one, PDQ is assumed.
    """
    from counterproof.audit.copy_index import CopyIndex
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    words = catalogue(load_settings().language)
    with CopyIndex.open(output, create=True) as works:
        for name in lists:
            count = works.import_list(name)
            click.echo(words.ui("index.imported", n=count, list=name, file=output), err=True)


@index.command()
@click.argument("index_file", metavar="INDEX")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--format", "fmt", type=click.Choice(["text", "jsonl"]), help="What stdout gets.")
@click.option("-o", "--output", metavar="FILE", help="Also write the pairs as a page (.html).")
@language_option
def search(
    index_file: str, paths: tuple[str, ...], fmt: str | None, output: str | None, lang: str | None
) -> None:
    """Find which reference works pictures show, whole or in part.

    A pipe gets one JSON object a picture: `path` and `matches`, each with `path`, `transform`,
    `overlap` and `confidence`. Confidence puts matches in order; it is no rate of error.
    """
    from counterproof.audit.copy_words import listed, said
    from counterproof.settings import load_settings
    from counterproof.text import catalogue, visible

    if output:
        check_suffix(output, "html")
    settings = load_settings({"language": lang})
    words = catalogue(settings.language)
    fmt = fmt or ("text" if sys.stdout.isatty() else "jsonl")
    pairs: list[Pair] = []
    counts = {"n": 0, "found": 0, "unread": 0, "works": 0}
    for row in _search(index_file, paths, settings, words, pairs, counts):
        counts["n"] += 1
        counts["found"] += bool(row["matches"] or row.get("listed"))
        counts["unread"] += "error" in row
        if fmt == "jsonl":
            sys.stdout.buffer.write(json.dumps(row).encode() + b"\n")
            sys.stdout.buffer.flush()
            continue
        name = visible(row["path"])
        if "error" in row:
            click.echo(row["error"], err=True)
        for match in row["matches"]:
            click.echo(said(name, match, words))
        for hit in row.get("listed", []):
            click.echo(listed(name, hit, words))
    if not counts["n"]:
        raise UserError(f"{', '.join(paths)}: expected pictures to search for, found none")
    figures = {"found": counts["found"], "n": counts["n"], "works": f"{counts['works']:,}"}
    summary = words.ui("index.summary", **figures)
    click.echo(summary, err=fmt != "text")
    if output:
        from counterproof.audit.copy_page import write_pairs

        title = words.ui("index.title")
        write_pairs(output, words, title, [summary], [], pairs, settings.limits)
        click.echo(words.ui("scan.wrote", file=output), err=True)
    if counts["unread"]:
        sys.exit(3)


def _search(
    index_file: str,
    paths: tuple[str, ...],
    settings: "Settings",
    words: "Catalogue",
    pairs: "list[Pair]",
    counts: dict[str, int],
) -> "Iterator[dict[str, Any]]":
    from counterproof.audit.case import display_path
    from counterproof.audit.copy_batches import search_all
    from counterproof.audit.copy_index import CopyIndex
    from counterproof.audit.copy_page import Pair
    from counterproof.audit.copy_search import Searcher
    from counterproof.audit.copy_words import said
    from counterproof.audit.hash_lists import HashLists
    from counterproof.audit.sources import expand

    with CopyIndex.open(index_file) as works:
        searcher = Searcher(works)
        listed = HashLists(works.listed())
        counts["works"] = len(works)
        if not counts["works"] and not listed:
            raise UserError(f"{index_file}: expected reference works or hash lists, it has none")
        opened = ((ref.path, _open(ref, settings)) for ref in expand(paths))
        for path, image, found in search_all(searcher, opened):
            row: dict[str, Any] = {"path": display_path(path), "matches": []}
            try:
                if isinstance(image, ImageError):
                    raise image
                hits = list(listed.hits(image, found))
            except ImageError as err:
                yield row | {"error": str(err)}
                continue
            row["matches"] = [match.to_json() for match in found]
            if hits:
                row["listed"] = [hit.to_json() for hit in hits]
            for match, value in zip(found, row["matches"], strict=True):
                says = said(display_path(path), value, words)
                place = match.fit
                pairs.append(
                    Pair(
                        path,
                        match.reference.location,
                        says,
                        place.region if place else None,
                        place.source if place else None,
                    )
                )
            yield row


def _open(ref: "Ref", settings: "Settings") -> "ImageFile | ImageError":
    from counterproof.images import ImageFile

    if ref.problem:
        return ImageError("missing", ref.problem.partition(": ")[2])
    try:
        return ImageFile.open(ref.path, limits=settings.limits)
    except ImageError as err:
        return err
