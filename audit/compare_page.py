"""A comparison in words, for a terminal or a page; and as one HTML file that opens offline."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterproof import __version__
from counterproof.audit.compare import Comparison, Row
from counterproof.audit.page import name_of, shown, size_of
from counterproof.audit.writer import Target, open_atomically
from counterproof.text import Catalogue, visible

__all__ = ["Cells", "ComparePage", "page", "write_html"]

_MAX_CHANGES = 200
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Cells:
    """One row of a table: what it is about, and what both say."""

    label: str
    original: str
    copy: str
    same: bool = False


@dataclass(frozen=True, slots=True)
class ComparePage:
    """All that is said of a pair of pictures.

    Attributes:
        original: name of the first.
        copy: name of the second.
        summary: the sentences to read first.
        pixels: sentences and figures about the pixels.
        places: changed places, each in words.
        metadata: fields added, removed or changed, with a title per kind.
        more_changes: how many further fields differ.
        metadata_note: what is said where nothing or little differs.
        credential: what became of it, in a sentence.
        answers: status and answers of both.
        findings: what one has and the other has not, in sentences.
        hashes: distances, in sentences.
        file: facts of both.
    """

    original: str
    copy: str
    summary: tuple[str, ...]
    pixels: tuple[str, ...]
    places: tuple[str, ...]
    metadata: tuple[tuple[str, tuple[Cells, ...]], ...]
    more_changes: int
    metadata_note: str
    credential: str
    answers: tuple[Cells, ...]
    findings: tuple[str, ...]
    hashes: tuple[str, ...]
    file: tuple[Cells, ...]


def page(found: Comparison, words: Catalogue) -> ComparePage:
    """Put a comparison into words."""
    changes = found.metadata[:_MAX_CHANGES]
    groups = []
    for kind in ("removed", "changed", "added"):
        rows = tuple(
            Cells(
                f"{words.ui(f'compare.group.{item.group}')} · {visible(item.name, 80)}",
                visible(item.before),
                visible(item.after),
            )
            for item in changes
            if item.kind == kind
        )
        if rows:
            number = sum(item.kind == kind for item in found.metadata)
            groups.append((words.ui(f"compare.metadata.{kind}", n=number), rows))
    return ComparePage(
        name_of(found.original.path),
        name_of(found.copy.path),
        tuple(_summary(found, words)),
        tuple(_pixels(found, words)),
        tuple(_places(found, words)),
        tuple(groups),
        len(found.metadata) - len(changes),
        _metadata_note(found, words),
        words.ui(f"compare.credential.{found.credential}"),
        tuple(_answers(found, words)),
        tuple(_findings(found, words)),
        tuple(
            words.ui(
                "compare.hash" if item["radius"] is None else "compare.hash.radius",
                alg=item["alg"],
                distance=item["distance"],
                bits=item["bits"],
                radius=item["radius"] or 0,
            )
            for item in found.hashes
        ),
        tuple(_file(found, words)),
    )


def _summary(found: Comparison, words: Catalogue) -> Iterator[str]:
    if found.original.sha256 and found.original.sha256 == found.copy.sha256:
        yield words.ui("compare.says.same_file")
        return
    pixels = found.pixels
    yield words.ui(f"compare.says.{pixels.kind}", n=pixels.figures.get("places", 0))
    if pixels.geometry and pixels.geometry != ("same",):
        yield _geometry(found, words)
    if pixels.toned:
        yield words.ui("compare.says.toned")
    if found.credential != "none":
        yield words.ui(f"compare.credential.{found.credential}")
    removed = sum(item.kind == "removed" for item in found.metadata)
    changed = sum(item.kind == "changed" for item in found.metadata)
    added = len(found.metadata) - removed - changed
    if removed and not found.metadata_equal and not changed and not added:
        yield words.ui("compare.says.stripped")
    elif found.metadata:
        yield words.ui("compare.says.metadata", removed=removed, changed=changed, added=added)


def _geometry(found: Comparison, words: Catalogue) -> str:
    join = words.ui("list.separator").join
    named = join(words.ui(f"compare.geometry.{item}") for item in found.pixels.geometry)
    return words.ui("compare.geometry", named=named)


def _pixels(found: Comparison, words: Catalogue) -> Iterator[str]:
    result, figures = found.pixels, found.pixels.figures
    if result.kind == "unread":
        known = words.tables["ui"].get(f"compare.unread.{result.reason}")
        yield known or words.ui(f"cause.{result.reason or 'damaged'}")
        return
    if result.kind in ("unaligned", "stream_same", "stream_other"):
        yield words.ui(f"compare.pixels.{result.kind}")
        return
    key = "compare.aligned.features" if figures["matches"] else "compare.aligned"
    yield words.ui(
        key,
        agreement=f"{figures['agreement']:.3f}",
        matches=figures["matches"],
        of=figures["of_matches"],
        confidence=words.ui(f"compare.confidence.{figures['confidence']}"),
    )
    yield (
        _geometry(found, words)
        if result.geometry != ("same",)
        else words.ui("compare.geometry.none")
    )
    if "scaled" in result.geometry:
        yield words.ui("compare.scale", percent=f"{100 * figures['scale']:.1f}")
    if "turned" in result.geometry:
        yield words.ui("compare.angle", degrees=f"{figures['angle_deg']:.1f}")
    if "cropped" in result.geometry:
        x, y, w, h = figures["visible"]
        percent = f"{100 * figures['kept']:.1f}"
        yield words.ui("compare.kept", percent=percent, x=x, y=y, w=w, h=h)
    if "extended" in result.geometry:
        yield words.ui("compare.extended", percent=f"{100 * figures['added']:.1f}")
    if figures["equal"]:
        yield words.ui("compare.equal")
        return
    yield words.ui("compare.levels", levels=f"{figures['mean_levels']:.1f}")
    if figures["colour_lost"]:
        yield words.ui("compare.colour_lost")
    if result.toned:
        yield words.ui("compare.toned", levels=f"{figures['tone_levels']:.1f}")
    if result.filtered:
        percent = f"{100 * figures['detail_ratio']:.0f}"
        yield words.ui(f"compare.{result.filtered}", percent=percent)
    if result.kind == "resaved":
        yield words.ui("compare.no_places")
    else:
        share = f"{100 * figures['changed_share']:.1f}"
        yield words.ui("compare.places", n=figures["places"], percent=share)
    yield words.ui("compare.limit")


def _places(found: Comparison, words: Catalogue) -> Iterator[str]:
    boxes = found.pixels.figures.get("boxes", [])
    origins = found.pixels.figures.get("boxes_original", [])
    for number, (box, origin) in enumerate(zip(boxes, origins, strict=True), 1):
        x, y, w, h = box
        left, top, width, height = origin
        yield words.ui(
            "compare.place",
            number=number,
            box=f"{x}, {y}, {w} × {h}",
            origin=f"{left}, {top}, {width} × {height}",
        )


def _metadata_note(found: Comparison, words: Catalogue) -> str:
    if not found.metadata and not found.metadata_equal:
        return words.ui("compare.metadata.none")
    return words.ui("compare.metadata.equal", n=found.metadata_equal)


def _answers(found: Comparison, words: Catalogue) -> Iterator[Cells]:
    for row in found.answers:
        if row.name == "status":
            label = words.ui("compare.status")
            pair = [words.status(str(item))["short"] for item in (row.original, row.copy)]
        elif row.name == "credential":
            label = words.ui("prefix.c2pa")
            pair = [
                words.code(str(item))["says"] if item else words.ui("compare.nothing")
                for item in (row.original, row.copy)
            ]
        else:
            question = row.name.partition(".")[2]
            label = words.ui(f"question.{question}")
            pair = [words.answer(question, str(i))["says"] for i in (row.original, row.copy)]
        yield Cells(label, pair[0], pair[1], row.same)


def _findings(found: Comparison, words: Catalogue) -> Iterator[str]:
    for kind, items in (("lost", found.lost), ("gained", found.gained)):
        for finding in items:
            yield words.ui(f"compare.finding.{kind}", says=words.sentence(finding))
    if found.kept:
        join = words.ui("list.separator").join
        yield words.ui("compare.finding.kept", codes=join(found.kept))
    if not (found.lost or found.gained or found.kept):
        yield words.ui("compare.finding.none")


_LABELS = {
    "stored.format": "fact.format",
    "stored.bytes": "fact.bytes",
    "stored.size": "fact.size",
    "stored.alpha": "fact.alpha",
    "stored.frames": "fact.frames",
    "stored.planes": "fact.planes",
}


def _file(found: Comparison, words: Catalogue) -> Iterator[Cells]:
    table = words.tables["ui"]
    for row in found.file:
        key = _LABELS.get(row.name, row.name)
        label = table.get(key) or table.get(f"compare.{row.name}")
        if row.name == "sha256":
            label = "SHA-256"
        yield Cells(
            label or visible(row.name.partition(".")[2], 60), *_pair(row, words), same=row.same
        )


def _pair(row: Row, words: Catalogue) -> tuple[str, str]:
    def said(value: Any) -> str:
        if value is None:
            return words.ui("compare.nothing")
        if isinstance(value, bool):
            return words.ui("fact.yes" if value else "fact.no")
        if row.name == "stored.saved":
            return _saved(value, words)
        if row.name == "stored.bytes":
            return f"{size_of(value)} ({value:,})"
        if row.name == "stored.format":
            return str(value).upper()
        if row.name == "sha256":
            return f"{value[:16]}…" if value else words.ui("compare.nothing")
        return shown(value) or words.ui("compare.nothing")

    return said(row.original), said(row.copy)


def _saved(value: dict[str, Any], words: Catalogue) -> str:
    state = value["code"].rpartition(".")[2]
    if "saver" not in value:
        return words.ui(f"compare.saved.{state}")
    quality = value["quality"]
    told = quality if isinstance(quality, int) else words.ui(f"quality.{quality}")
    return words.ui("compare.saved", saver=words.ui(f"saver.{value['saver']}"), quality=told)


def write_html(found: Comparison, words: Catalogue, target: Target) -> None:
    """Write the comparison as one page: both pictures side by side, a map that CSS switches.

    Raises:
        UserError: if the file cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_TEMPLATES / "compare.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    figures = found.pixels.figures
    text = environment.get_template("compare.html").render(
        lang={"zh": "zh-Hans"}.get(words.language, words.language),
        page=page(found, words),
        ui=words.ui,
        style=Markup(style),  # our own text, never a file's
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'",
        views={
            name: f"data:image/webp;base64,{base64.b64encode(data).decode()}"
            for name, data in found.pixels.views.items()
        },
        boxes=figures.get("boxes", []),
        boxes_original=figures.get("boxes_original", []),
        visible=figures.get("visible") if "cropped" in found.pixels.geometry else None,
        frame=figures.get("frame") or _frame(found.copy),
        original_frame=figures.get("original_frame") or _frame(found.original),
        version=__version__,
    )
    with open_atomically(target) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))


def _frame(record: Any) -> list[int]:
    return [record.file.width or 4, record.file.height or 3]
