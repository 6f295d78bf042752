"""What the report shows of each picture beside words: its view, its maps, what relates to it."""

import base64
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterproof.audit import thumbnails
from counterproof.audit.copy_words import related
from counterproof.audit.model_section import KINDS as MODEL_KINDS
from counterproof.audit.page import Page
from counterproof.audit.quotes import Line
from counterproof.errors import CaseError
from counterproof.findings import Blob, Relation
from counterproof.settings import Limits
from counterproof.text import Catalogue, visible

if TYPE_CHECKING:
    from markupsafe import Markup

    from counterproof.audit.case import Case
    from counterproof.audit.exiftool import TagDump

__all__ = [
    "LARGE_BYTES",
    "Group",
    "Leaf",
    "Picture",
    "data_uri",
    "groups_of",
    "maps_of",
    "place",
    "relate",
    "shown_maps",
    "views_of",
]

_TWINS = 6
_GROUPS = 40  # of near-duplicates and other relations
_VIEWS_BYTES = 1_800_000
LARGE_BYTES = 4_000_000
"""Room for large views in a report; with the other parts under 5 MB for 1,000 pictures."""


@dataclass(slots=True)
class Leaf:
    """One picture that has a page of its own.

    Attributes:
        anchor: id of the page.
        page: what it says.
        view: id of the picture's view, or empty.
        problem: why there is no view.
        box: width and height of the view's frame.
        maps: (label, data URI) of each map that can be laid over the view.
        dump: every tag, as exiftool read it; None where it was not asked.
        error_levels: data URI of the aid for viewing; empty where it was not asked.
        notes: what people wrote.
        twins: what else in the case relates to it.
        previous: anchor of the page before; may be empty.
        next: anchor of the page after; may be empty.
        body: the page as HTML.
    """

    anchor: str
    page: Page
    view: str = ""
    problem: str = ""
    box: tuple[int, int] = (4, 3)
    maps: tuple[tuple[str, str], ...] = ()
    dump: "TagDump | None" = None
    error_levels: str = ""
    notes: tuple[Any, ...] = ()
    twins: tuple[Line, ...] = ()
    previous: str = ""
    next: str = ""
    body: "Markup | str" = ""


@dataclass(frozen=True, slots=True)
class Group:
    """One relation, in words; `remark` says of a copy how much of which work it shows, and how."""

    says: str
    means: str
    remark: str
    members: tuple[tuple[str, str], ...]  # (anchor or "", path)
    more: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A view as it is embedded."""

    anchor: str
    uri: str
    width: int
    height: int


def views_of(
    case: "Case", leaves: list[Leaf], size: thumbnails.Size, limits: Limits
) -> list[Picture]:
    """Take views from the case, make those that are missing, keep them there."""
    kept: dict[str, thumbnails.View] = {}
    wanted: dict[str, str] = {}
    for leaf in leaves:
        sha256 = leaf.page.sha256
        if not sha256 or sha256 in kept or sha256 in wanted:
            continue
        if blob := case.blob(sha256, size.name):
            kept[sha256] = thumbnails.View(sha256, blob)
        elif path := case.location(sha256):
            wanted[sha256] = path
    for view in thumbnails.make(wanted.items(), size, limits):
        kept[view.sha256] = view
        if view.blob:
            # a case that cannot be written is no reason to show nothing
            with contextlib.suppress(CaseError):
                case.put_blob(view.sha256, view.blob)
    none = thumbnails.View("", None, "gone")
    views = [kept.get(leaf.page.sha256, none) for leaf in leaves]
    budget = LARGE_BYTES if size is thumbnails.LARGE else _VIEWS_BYTES
    return list(place(leaves, views, budget))


def place(leaves: list[Leaf], views: list[thumbnails.View], budget: int) -> Iterator[Picture]:
    """Give each page its view, copies of one file sharing theirs, within a number of bytes."""
    placed: dict[str, str] = {}
    for leaf, view in zip(leaves, views, strict=True):
        width, height = leaf.page.width, leaf.page.height
        leaf.box = (width, height) if width and height else (400, 300)
        if view.blob is None:
            leaf.problem = view.problem
            leaf.box = (400, 300)
            continue
        if view.sha256 in placed:
            leaf.view = placed[view.sha256]
            continue
        uri = data_uri(view.blob.media_type, view.blob.data)
        budget -= len(uri)
        if budget < 0:
            leaf.problem = "left_out"
            continue
        leaf.view = placed[view.sha256] = f"v-{leaf.anchor}"
        yield Picture(leaf.view, uri, *leaf.box)


_MAP_TYPES = ("image/png", "image/jpeg", "image/webp")
_MAX_MAP_BYTES = 150_000


def maps_of(case: "Case", leaf: Leaf) -> Iterator[tuple[str, str]]:
    """Yield the maps that findings name, those that are small enough."""
    names = [name for reason in leaf.page.reasons for name in reason.evidence]
    found = (case.blob(leaf.page.sha256, name) for name in names)
    yield from shown_maps(blob for blob in found if blob)


def shown_maps(blobs: Iterable[Blob]) -> Iterator[tuple[str, str]]:
    """Yield name and data URI of those blobs that can be laid over a view, and are small."""
    for blob in blobs:
        if blob.media_type in _MAP_TYPES and len(blob.data) <= _MAX_MAP_BYTES:
            yield visible(blob.name, 60), data_uri(blob.media_type, blob.data)


def data_uri(media_type: str, data: bytes) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def relate(case: "Case", leaves: list[Leaf], words: Catalogue) -> None:
    """Note on each page what else in the case belongs to its picture."""
    pages: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        pages.setdefault(leaf.page.sha256, []).append(leaf)
    for relation in case.relations():
        for member in relation.members:
            for leaf in pages.get(member, ()):
                others = [item for item in relation.members if item != member]
                paths = [_named(case, relation, item) for item in others[:_TWINS]]
                value = words.ui("list.separator").join(visible(path) for path in paths)
                if len(others) > _TWINS:
                    value = f"{value} {words.ui('report.more', n=len(others) - _TWINS)}"
                if len(leaf.twins) < _TWINS:
                    leaf.twins += (Line(words.sentence(relation), value),)


def _named(case: "Case", relation: Relation, member: str) -> str:
    """Return the path of a member; of a work that is no picture of the case, where it was."""
    if paths := case.paths_of(member):
        return paths[0]
    work = relation.details.get("path") or relation.details.get("reference")
    return work if isinstance(work, str) and member == relation.members[-1] else member


def groups_of(
    case: "Case", words: Catalogue, anchors: Mapping[str, str]
) -> tuple[list[Group], int]:
    """Put the first relations into words; count all of them."""
    groups: list[Group] = []
    count = 0
    for relation in case.relations():
        if relation.kind in MODEL_KINDS:  # they have a section of their own
            continue
        count += 1
        if len(groups) < _GROUPS:
            groups.append(_group(case, relation, words, anchors))
    return groups, count


def _group(case: "Case", relation: Relation, words: Catalogue, anchors: Mapping[str, str]) -> Group:
    said = words.describe(relation)
    members = []
    distinct = tuple(dict.fromkeys(relation.members))  # a listed sha256 is the picture's own
    for member in distinct[:12]:
        members.append((anchors.get(member, ""), visible(_named(case, relation, member))))
    remark = related(members[0][1], relation, words)
    return Group(said["says"], said["means"], remark, tuple(members), max(0, len(distinct) - 12))
