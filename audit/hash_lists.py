"""Hash lists as desks and platforms exchange them: read, and compared with a picture.

A hit is a lead and never an accusation: somebody put a hash on a list. The same SHA-256 is the
same bytes. A PDQ hash within reach says that two pictures look alike; where the listed picture is
indexed as well, and geometry finds it in the picture, that confirms it.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from counterproof.audit.pdq import MIN_QUALITY, RADIUS_BITS, READ_SIDE, pdq
from counterproof.errors import ImageError, UserError
from counterproof.images import ImageFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.audit.copy_search import Match

    Words = NDArray[np.uint64]

__all__ = ["HashLists", "Hit", "Listed", "read_list"]

_HEX = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a hash list: somebody's word about a picture that is not here."""

    kind: str
    value: str
    label: str
    source: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that a picture meets.

    Attributes:
        line: of the list.
        bits: distance of the hashes; 0 for the same bytes.
        confirmed_by: an indexed work that has the listed hash as well and that geometry found in
            the picture; None without one.
    """

    line: Listed
    bits: int
    confirmed_by: "Match | None" = None

    def to_json(self) -> dict[str, object]:
        """Return the hit as JSON values."""
        line = self.line
        value: dict[str, object] = {"list": line.source, "label": line.label, "hash": line.kind}
        value["distance_bits"] = self.bits
        if (match := self.confirmed_by) is not None:
            value["confirmed_by"] = match.to_json()
        return value


class HashLists:
    """All lines of an index, ready to be compared: 32 bytes a line, 3 ms for a million."""

    def __init__(self, lines: Iterable[Listed]) -> None:
        self._same: dict[str, list[Listed]] = {}
        self._alike: list[Listed] = []
        for line in lines:
            if line.kind == "sha256":
                self._same.setdefault(line.value, []).append(line)
            else:
                self._alike.append(line)
        data = b"".join(bytes.fromhex(line.value) for line in self._alike)
        self._words: Words = np.frombuffer(data, dtype=np.uint64).reshape(-1, 4)

    def __len__(self) -> int:
        return sum(len(lines) for lines in self._same.values()) + len(self._alike)

    def hits(self, image: ImageFile, matches: Sequence["Match"] = ()) -> Iterator[Hit]:
        """Yield the lines that a picture meets, in the order of the lists.

        A PDQ hash of quality under 50 is not compared.

        Args:
            image: the picture.
            matches: indexed works that a search found in it.

        Raises:
            ImageError: if PDQ hashes are listed and the picture cannot be decoded.
        """
        for line in self._same.get(image.sha256, ()):
            yield Hit(line, 0)
        if not self._alike:
            return
        own = pdq(image.pixels(READ_SIDE))
        if own.quality < MIN_QUALITY:
            return
        bits = _distances(self._words, own.value)
        near = np.flatnonzero(bits <= RADIUS_BITS)
        works = _hashed(matches) if len(near) else []
        for place in near.tolist():
            line = self._alike[place]
            confirming = (
                match
                for match, value in works
                if int(_distances(self._words[place : place + 1], value)[0]) <= RADIUS_BITS
            )
            yield Hit(line, int(bits[place]), next(confirming, None))


def _distances(words: "Words", value: str) -> "NDArray[np.int64]":
    other = np.frombuffer(bytes.fromhex(value), dtype=np.uint64)
    return np.asarray(np.bitwise_count(words ^ other).sum(axis=1, dtype=np.int64))


def _hashed(matches: Sequence["Match"]) -> "list[tuple[Match, str]]":
    """Return the matched works whose file is at hand, with their PDQ hash."""
    found = []
    for match in matches:
        try:
            work = ImageFile.open(match.reference.location)
            if work.sha256 == match.reference.sha256:
                own = pdq(work.pixels(READ_SIDE))
                if own.quality >= MIN_QUALITY:
                    found.append((match, own.value))
        except ImageError:  # the work is no longer at hand
            continue
    return found


def read_list(path: str) -> Iterator[Listed]:
    """Yield the lines of a CSV file with the columns `hash`, `label`, `source`, or without heads.

    Raises:
        UserError: if it cannot be read, or a line holds neither a PDQ nor a SHA-256 hash.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row and any(cell.strip() for cell in row)]
    except OSError as err:
        raise UserError(f"{path}: cannot read the hash list: {err.strerror}") from err
    except (UnicodeDecodeError, csv.Error) as err:
        raise UserError(
            f"{path}: expected a hash list, lines of hash, label, source in UTF-8; got another "
            "kind of file"
        ) from err
    if not rows:
        raise UserError(f"{path}: expected lines of hash, label, source; the list is empty")
    heads = [cell.strip().lower() for cell in rows[0]]
    named = not any(_HEX.fullmatch(cell.strip()) for cell in rows[0])
    columns = heads if named else ["hash", "label", "source", "type"]
    for number, row in enumerate(rows[1:] if named else rows, 2 if named else 1):
        cells = dict(zip(columns, (cell.strip() for cell in row), strict=False))
        kind = (cells.get("type") or cells.get("kind") or "").lower()
        value = cells.get("hash") or cells.get("value") or ""
        for name in ("pdq", "sha256"):
            if cells.get(name):
                kind, value = name, cells[name]
        if not _HEX.fullmatch(value) or kind not in ("", "pdq", "sha256"):
            raise UserError(
                f"{path}, line {number}: expected 64 hex digits of a PDQ or SHA-256 hash, "
                f"got {value[:80]!r}" + (f" of type {kind!r}" if kind else "")
            )
        source = cells.get("source") or Path(path).name
        yield Listed(kind or "pdq", value.lower(), cells.get("label", "")[:200], source[:200])
