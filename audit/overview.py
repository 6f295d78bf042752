"""What the report says of a whole case: stakes apart from basis, what passed, risk by folder.

Everything is counted while the records pass, in memory that does not grow with the case.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

from counterproof.findings import Basis, Record, Relation, Severity, Status

__all__ = ["Overview", "Passed", "bars", "distances", "lengths"]

_FAULTS = ("failed", "timeout", "skipped")
_FOLDERS = 12  # in the plot; the rest is one bar
_MAX_FOLDERS = 5_000  # that are counted apart


@dataclass(frozen=True, slots=True)
class Passed:
    """What one kind of check did: how often it ran, found something, broke off."""

    prefix: str
    ran: int
    found: int
    broke: int

    @property
    def quiet(self) -> int:
        """How often it ran to its end and found nothing, which proves nothing."""
        return self.ran - self.found - self.broke


@dataclass(slots=True)
class Overview:
    """Counts over the records of a case.

    Attributes:
        stakes: (severity, basis) → findings; the two are independent.
        folders: folder → status → pictures.
        checks: prefix → (found, broke) pictures.
        total: pictures.
    """

    stakes: Counter[tuple[Severity, Basis]] = field(default_factory=Counter)
    folders: dict[str, Counter[Status]] = field(default_factory=dict)
    found: Counter[str] = field(default_factory=Counter)
    broke: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def watch(self, records: Iterable[Record]) -> Iterator[Record]:
        """Pass records on, counting them."""
        for record in records:
            self.add(record)
            yield record

    def add(self, record: Record) -> None:
        """Count one record."""
        self.total += 1
        broke = {f.prefix for f in record.findings if f.state in _FAULTS}
        found = {f.prefix for f in record.findings} - broke
        self.found.update(found)
        self.broke.update(broke)
        for finding in record.findings:
            if finding.state not in _FAULTS:
                self.stakes[finding.severity, finding.basis] += 1
        folder = record.path[: record.path.rfind("/") + 1] or "./"
        if folder not in self.folders and len(self.folders) >= _MAX_FOLDERS:
            folder = "…"
        self.folders.setdefault(folder, Counter())[record.verdict.status] += 1

    def passed(self, ran: Iterable[str]) -> list[Passed]:
        """Return a line per kind of check that the scan ran, those that found nothing too."""
        return [
            Passed(prefix, self.total, self.found[prefix], self.broke[prefix])
            for prefix in sorted(ran)
        ]

    def riskiest(self, families: Mapping[Status, str]) -> list[tuple[str, Counter[str], int]]:
        """Return (folder, family → pictures, pictures), those with most to look at first."""
        rows = []
        for folder, counts in self.folders.items():
            mix: Counter[str] = Counter()
            for status, n in counts.items():
                mix[families[status]] += n
            rows.append((folder, mix, sum(counts.values())))
        rows.sort(key=lambda row: (-row[1]["contra"], -row[1]["model"], -row[1]["lead"], row[0]))
        head, tail = rows[:_FOLDERS], rows[_FOLDERS:]
        if tail:
            rest: Counter[str] = Counter()
            for _, mix, _ in tail:
                rest.update(mix)
            head.append(("…", rest, sum(rest.values())))
        return head


def bars(
    rows: Iterable[tuple[str, Mapping[str, int], int]],
    order: Iterable[str],
    title: str,
    name: Callable[[str], str],
) -> str:
    """Draw stacked bars as inline SVG, each to the full width, with its number of pictures.

    Args:
        rows: (label, part → number, sum).
        order: of the parts.
        title: what a reader that does not see hears.
        name: what a part is called.

    Returns:
        SVG whose texts are escaped.
    """
    listed, parts = list(rows), list(order)
    width, step, left = 720, 30, 250
    room = width - left - 70
    drawn = []
    for line, (label, mix, total) in enumerate(listed):
        y, x = line * step + 6, float(left)
        short = label if len(label) <= 34 else f"…{label[-33:]}"
        drawn.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(short)}</text>')
        for part in parts:
            if not (n := mix.get(part, 0)) or not total:
                continue
            span = room * n / total
            said = escape(f"{label}: {name(part)}, {n:,}")
            drawn.append(
                f'<rect class="{part}" x="{x:.1f}" y="{y}" width="{span:.1f}" height="18">'
                f"<title>{said}</title></rect>"
            )
            x += span
        drawn.append(f'<text x="{left + room + 8}" y="{y + 14}">{total:,}</text>')
    height = len(listed) * step + 8
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(drawn)}</svg>'
    )


def lengths(rows: Iterable[tuple[str, int]], title: str) -> str:
    """Draw how many there are of each as inline SVG, lengths by number.

    Args:
        rows: (label, number).
        title: what a reader that does not see hears.

    Returns:
        SVG whose texts are escaped.
    """
    listed = list(rows)
    width, step, left = 720, 30, 250
    room, most = width - left - 70, max((n for _, n in listed), default=0) or 1
    drawn = []
    for line, (label, n) in enumerate(listed):
        y, span = line * step + 6, room * n / most
        drawn.append(
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="quiet" x="{left}" y="{y}" width="{span:.1f}" height="18"></rect>'
            f'<text x="{left + span + 8:.1f}" y="{y + 14}">{n:,}</text>'
        )
    height = len(listed) * step + 8
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(drawn)}</svg>'
    )


_BITS = ((0, 0), (1, 8), (9, 16), (17, 24), (25, 32), (33, 40), (41, 256))


def distances(relations: Iterable[Relation]) -> list[tuple[str, int]]:
    """Count groups of near-duplicates by the largest distance inside, in bits of 256.

    Returns:
        (range of bits, groups), up to the last range that has any; empty without groups.
    """
    counts = [0] * len(_BITS)
    for relation in relations:
        bits = relation.details.get("max_distance_bits")
        if relation.kind == "near_duplicate" and isinstance(bits, int):
            counts[next(i for i, (_, top) in enumerate(_BITS) if bits <= top)] += 1
    used = max((i + 1 for i, n in enumerate(counts) if n), default=0)
    spans = [f"{low}" if low == high else f"{low}–{high}" for low, high in _BITS]
    return list(zip(spans, counts, strict=True))[:used]
