"""The features of all works of an index, sorted so that a search reads few of them from the disk.

An inverted file (Sivic and Zisserman, "Video Google", ICCV 2003, as in Jégou, Douze and Schmid,
"Product Quantization for Nearest Neighbor Search", TPAMI 2011, §4, without its residuals): each
feature belongs to the nearest of many centres, found by k-means on a sample. The features of one
centre lie together, 18 bytes each: 2 say whose it is, 16 are the descriptor. A search opens the
cells nearest to each of its own features. Those of a small index stay in memory; of a large one a
stretch of cells is read at a time, for all pictures that are searched together: one picture opens
an eighth of the cells of a million works, and sixty open them all.

Cells are written part by part, 65,536 works each. What was added since is sorted before a search;
only the last part is written again. A part is one transaction: stopped, sorting goes on there.
"""

import io
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.audit.local_features import CODE, DIMENSIONS, MAX_REFERENCE, PACKED, decoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.int8]
    Floats = NDArray[np.float32]
    Cell = tuple[NDArray[np.int64], Words]  # whose its features are, and their descriptors

__all__ = ["LIST_TABLES", "FeatureLists"]

LIST_TABLES = """
CREATE TABLE cells (
    id INTEGER PRIMARY KEY, works INTEGER NOT NULL, upto INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE list (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""

_NEIGHBOURS = 3  # features that one feature votes for
_REACH = 55.0  # distance of descriptors at which a vote counts 1/e
_PROBES = 6  # cells that are opened for one feature
_COARSE_PROBES = 8
_PER_CELL = 400
_FLAT = 4096  # cells up to which one level of centres is enough
_COARSE, _FINE = 256, 256
_SAMPLE = 40_000  # features from which one level of centres is found
_SAMPLES = 1_000_000
_GROWN = 4  # times as many works as the centres were found for: more of them are found, up to all
_PART = 1 << 16
_KEPT = 3_000_000  # features up to which an index is held in memory: 40 bytes each
_STRETCH = 512  # cells that are read at once: 40 MB where all centres have as many features
_GAP = 4  # cells that are read for nothing rather than begin another stretch
_RECORD = 2 + CODE
_BLOCK = 1024  # features at once: their distances to 256 centres stay in the cache


class FeatureLists:
    """The sorted features of one index."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._coarse: Floats = np.zeros((0, DIMENSIONS), np.float32)
        self._fine: Floats = np.zeros((0, 0, DIMENSIONS), np.float32)
        self._parts = 0
        self._holds = False
        self._held: dict[int, Cell] = {}

    # -- sorting ------------------------------------------------------------------------

    def sort(self) -> None:
        """Put what was added since the last time into cells. Memory: 1.4 GB at most.

        Raises:
            sqlite3.Error: if the file is damaged or cannot be written.
        """
        # counted by its index: to count the rows of `feature` is to read all of it
        works = self._db.execute("SELECT count(*) FROM reference").fetchone()[0]
        last = self._db.execute("SELECT max(id) FROM feature").fetchone()[0]
        self._held.clear()
        self._holds = works * MAX_REFERENCE <= _KEPT
        row = self._db.execute("SELECT works, upto, data FROM cells WHERE id = 1").fetchone()
        done = 0
        if row is not None:
            done = row[1]
            with np.load(io.BytesIO(row[2]), allow_pickle=False) as stored:
                self._coarse, self._fine = stored["coarse"], stored["fine"]
        if row is None or (works > _GROWN * row[0] and 2 * self.cells < _COARSE * _FINE):
            done = 0
            self._find_centres(works)
        self._parts = (last or 0) // _PART + 1
        if works and last > done:
            for part in range((done + 1) // _PART, self._parts):
                self._sort_part(part, works if done == 0 else row[0], last)

    def _sort_part(self, part: int, works: int, last: int) -> None:
        """Write the lists of one part, and the centres, in one transaction."""
        first = part * _PART
        owners, codes, cells = [], [], []
        for number, data in self._features(first, first + _PART - 1):
            table = np.frombuffer(data, dtype=np.uint8).reshape(-1, PACKED)
            owners.append(np.full(len(table), number - first, dtype="<u2"))
            codes.append(table[:, PACKED - CODE :])
            if len(codes) % 64 == 0:
                cells.append(self._cells(np.concatenate(codes[-64:])))
        if len(codes) % 64:
            cells.append(self._cells(np.concatenate(codes[-(len(codes) % 64) :])))
        self._db.execute("BEGIN")
        try:
            low = part << 16
            self._db.execute("DELETE FROM list WHERE id >= ?", (low,))
            if cells:
                cell = np.concatenate(cells)
                order = np.argsort(cell, kind="stable")
                starts = np.searchsorted(cell[order], np.arange(self.cells + 1))
                records = np.empty((len(cell), _RECORD), np.uint8)
                records[:, :2] = np.concatenate(owners).view(np.uint8).reshape(-1, 2)
                records[:, 2:] = np.concatenate(codes)
                records = records[order]
                self._db.executemany(
                    "INSERT INTO list VALUES (?, ?)",
                    (
                        (low + n, records[starts[n] : starts[n + 1]].tobytes())
                        for n in np.flatnonzero(np.diff(starts)).tolist()
                    ),
                )
            out = io.BytesIO()
            np.savez(out, coarse=self._coarse, fine=self._fine)
            upto = min(last, first + _PART - 1)
            self._db.execute(
                "INSERT OR REPLACE INTO cells VALUES (1, ?, ?, ?)", (works, upto, out.getvalue())
            )
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _features(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        yield from self._db.execute(
            "SELECT id, data FROM feature WHERE id BETWEEN ? AND ? AND length(data) ORDER BY id",
            (first, last),
        )

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return int(self._fine.shape[0] * self._fine.shape[1])

    def _find_centres(self, works: int) -> None:
        """Find centres on a sample: one level of them, or where there are many, two."""
        rng = np.random.default_rng(0)
        sample, count = self._sampled(works, rng)
        if count <= _FLAT:
            self._coarse = np.zeros((1, DIMENSIONS), np.float32)
            self._fine = _centres(sample[: min(_SAMPLE, 60 * count)], count)[None]
            return
        self._coarse = _centres(sample[:_SAMPLE], _COARSE)
        near = _nearest(sample, self._coarse)
        fine = min(_FINE, count // _COARSE)
        self._fine = np.stack([_centres(sample[near == n], fine) for n in range(_COARSE)])

    def _sampled(self, works: int, rng: "np.random.Generator") -> "tuple[Words, int]":
        """Return features of works drawn evenly, in random order, and how many cells to make."""
        numbers = [row[0] for row in self._db.execute("SELECT id FROM feature ORDER BY id")]
        chosen = rng.permutation(numbers)[:8000].tolist()
        tables: list[NDArray[np.uint8]] = []
        for number in sorted(chosen):
            row = self._db.execute("SELECT data FROM feature WHERE id = ?", (number,)).fetchone()
            tables.append(np.frombuffer(row[0], dtype=np.uint8).reshape(-1, PACKED))
        table = np.concatenate(tables) if tables else np.zeros((0, PACKED), np.uint8)
        total = len(table) * works // max(1, len(chosen))
        count = int(np.clip(total // _PER_CELL, 1, _COARSE * _FINE))
        table = table[rng.permutation(len(table))[:_SAMPLES]]
        return decoded(table[:, PACKED - CODE :]), count

    def _cells(self, codes: "NDArray[np.uint8]") -> "NDArray[np.uint16]":
        """Return the cell of each feature."""
        words = decoded(codes)
        coarse, fine = self._fine.shape[:2]
        if coarse == 1:
            return _nearest(words, self._fine[0]).astype(np.uint16)
        upper = _nearest(words, self._coarse)
        order = np.argsort(upper, kind="stable")
        bounds = np.searchsorted(upper[order], np.arange(coarse + 1))
        cells = np.empty(len(words), np.uint16)
        for n in np.flatnonzero(np.diff(bounds)).tolist():
            who = order[bounds[n] : bounds[n + 1]]
            cells[who] = n * fine + _nearest(words[who], self._fine[n])
        return cells

    # -- searching ----------------------------------------------------------------------

    def vote(
        self, words: "Words"
    ) -> "tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]":
        """Let each feature vote for the works of its nearest neighbours.

        Args:
            words: descriptors, of one picture or of many together, shape (N, 32).

        Returns:
            Of each vote which descriptor gives it, rising; for the work of which number; and its
            weight. A work may come many times.
        """
        a = words.astype(np.float32)
        if not self.cells or not len(a):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        near = self._near(a)
        best = np.full((*near.shape, _NEIGHBOURS), np.inf, dtype=np.float32)
        owner = np.full(best.shape, -1, dtype=np.int64)
        flat = near.ravel()
        order = np.argsort(flat, kind="stable")
        cells, starts = np.unique(flat[order], return_index=True)
        bounds = np.append(starts, len(flat))
        for cell, owners, members in self._read(cells.tolist()):
            number = int(np.searchsorted(cells, cell))
            who, slot = np.divmod(order[bounds[number] : bounds[number + 1]], near.shape[1])
            b = members.astype(np.float32)
            apart = np.einsum("ij,ij->i", b, b) - 2 * (a[who] @ b.T)
            rows = np.arange(len(who))
            for rank in range(min(_NEIGHBOURS, len(owners))):  # faster than a partition
                some = apart.argmin(axis=1)
                best[who, slot, rank] = apart[rows, some]
                owner[who, slot, rank] = owners[some]
                apart[rows, some] = np.inf
        every = best.reshape(len(a), -1)
        keep = np.argpartition(every, _NEIGHBOURS - 1, axis=1)[:, :_NEIGHBOURS]
        nearest = np.take_along_axis(every, keep, axis=1)
        owners = np.take_along_axis(owner.reshape(len(a), -1), keep, axis=1)
        valid = owners >= 0
        square = np.maximum(np.where(valid, nearest, 0) + (a * a).sum(axis=1)[:, None], 0)
        weight = np.exp(-square / _REACH**2).astype(np.float64)
        return np.nonzero(valid)[0], owners[valid], weight[valid]

    def _near(self, words: "Floats") -> "NDArray[np.int64]":
        """Return the cells that are opened for each feature, shape (N, probes)."""
        coarse, fine = self._fine.shape[:2]
        upper = min(_COARSE_PROBES, coarse)
        probes = min(_PROBES, upper * fine)
        cells = np.empty((len(words), probes), np.int64)
        for start in range(0, len(words), _BLOCK):
            a = words[start : start + _BLOCK]
            top = np.argpartition(_apart(a, self._coarse), upper - 1, axis=1)[:, :upper]
            far = np.empty((len(a), upper, fine), np.float32)
            for n in np.unique(top).tolist():
                rows, slots = np.nonzero(top == n)
                far[rows, slots] = _apart(a[rows], self._fine[n])
            near = np.argpartition(far.reshape(len(a), -1), probes - 1, axis=1)[:, :probes]
            upmost = np.take_along_axis(top, near // fine, axis=1)
            cells[start : start + _BLOCK] = upmost * fine + near % fine
        return cells

    def _read(self, cells: Sequence[int]) -> "Iterator[tuple[int, NDArray[np.int64], Words]]":
        """Yield the features of cells, given by rising number; of an empty one nothing."""
        for cell in cells:
            if cell in self._held:
                yield cell, *self._held[cell]
        for stretch in _stretches([cell for cell in cells if cell not in self._held]):
            rows: dict[int, list[tuple[int, bytes]]] = {cell: [] for cell in stretch}
            for part in range(self._parts):
                low = part << 16
                found = self._db.execute(
                    "SELECT id, data FROM list WHERE id BETWEEN ? AND ?",
                    (low + stretch[0], low + stretch[-1]),
                )
                for key, data in found:
                    if key - low in rows:
                        rows[key - low].append((part * _PART, data))
            for cell, some in rows.items():
                if some:
                    read = _joined(some)
                    if self._holds:
                        self._held[cell] = read
                    yield cell, *read


def _joined(rows: Sequence[tuple[int, bytes]]) -> "Cell":
    """Join what each part has of a cell; `rows` holds its first number and its records."""
    table = np.frombuffer(b"".join(data for _, data in rows), np.uint8).reshape(-1, _RECORD)
    firsts = np.repeat([first for first, _ in rows], [len(data) // _RECORD for _, data in rows])
    return np.ascontiguousarray(table[:, :2]).view("<u2")[:, 0] + firsts, decoded(table[:, 2:])


def _stretches(cells: Sequence[int]) -> Iterator[list[int]]:
    """Divide rising numbers into those that are read in one go.

    >>> list(_stretches([1, 2, 4, 90]))
    [[1, 2, 4], [90]]
    """
    stretch: list[int] = []
    for cell in cells:
        if stretch and (cell > stretch[-1] + _GAP or cell - stretch[0] >= _STRETCH):
            yield stretch
            stretch = []
        stretch.append(cell)
    if stretch:
        yield stretch


def _apart(words: "NDArray[Any]", centres: "Floats") -> "Floats":
    """Return squared distances less the words' own squares, shape (N, centres)."""
    squares = (centres * centres).sum(axis=1)[None]
    return np.asarray(squares - 2 * (words.astype(np.float32) @ centres.T), np.float32)


def _nearest(words: "Words", centres: "Floats") -> "NDArray[np.int64]":
    """Return the nearest centre of each word."""
    near = np.empty(len(words), np.int64)
    turned = np.ascontiguousarray(centres.T)
    half = (centres * centres).sum(axis=1) / 2
    for start in range(0, len(words), _BLOCK):
        part = slice(start, start + _BLOCK)
        likeness = words[part].astype(np.float32) @ turned
        near[part] = np.subtract(half, likeness, out=likeness).argmin(axis=1)
    return near


def _centres(sample: "Words", count: int) -> "Floats":
    """Find centres by k-means; where there are fewer words than centres, each word is one."""
    import cv2

    if count == 1 or not len(sample):
        return np.zeros((count, DIMENSIONS), np.float32)
    table = sample.astype(np.float32)
    if len(table) <= count:
        return np.resize(table, (count, DIMENSIONS))
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_COUNT, 8, 0.0)
    _, _, found = cv2.kmeans(table, count, None, stop, 1, cv2.KMEANS_RANDOM_CENTERS)  # type: ignore[call-overload]
    return np.asarray(found, dtype=np.float32)
