"""Labelled pictures: read from a table or from two folders, split by whole source.

A *source* is a collection: one camera owner's folder, one repository, one generator's gallery.
Pictures of one source share traits that have nothing to do with the question, so a source is
never on both sides of a split.
"""

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterproof.errors import UserError

__all__ = ["Sample", "balance", "folds", "read", "source_count", "thinned"]

LABELS = {"real": False, "camera": False, "photo": False, "fake": True, "ai": True, "machine": True}
"""Words of data sets for the two classes; they label collections, never one picture."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled picture.

    Attributes:
        path: of the file.
        machine_made: the label.
        source: the collection it belongs to.
        generator: what made it, as far as known; empty for photographs.
    """

    path: Path
    machine_made: bool
    source: str
    generator: str = ""


def read(where: Path, *, both: bool = True) -> list[Sample]:
    """Read a table or a folder of labelled pictures, in a stable order.

    Args:
        where: a CSV file with the columns `file` (relative to it) and `label`, and if present
            `source` and `generator`; or a folder that holds one folder per label, such as
            `real/` and `fake/`, each with one folder per source or with pictures.
        both: whether pictures of both classes are needed; otherwise only photographs are.

    Raises:
        UserError: if the table lacks a column, a label is unknown, or a class is empty.
    """
    samples = _table(where) if where.is_file() else _folders(where)
    for wanted in (False, True) if both else (False,):
        if not any(sample.machine_made is wanted for sample in samples):
            kind = "machine-made pictures" if wanted else "photographs"
            needed = "pictures of both classes" if both else "photographs"
            raise UserError(f"{where}: expected {needed}, found no {kind}")
    return samples


def _table(path: Path) -> list[Sample]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _rows(csv.DictReader(file), path)
    except (UnicodeDecodeError, csv.Error) as err:
        raise UserError(f"{path}: expected a CSV table in UTF-8, or a folder: {err}") from err


def _rows(rows: "csv.DictReader[str]", path: Path) -> list[Sample]:
    missing = {"file", "label"} - set(rows.fieldnames or ())
    if missing:
        raise UserError(f"{path}: expected a column {sorted(missing)[0]!r}")
    return [
        Sample(
            path.parent / (row["file"] or ""),
            _label(row["label"] or "", f"{path}, line {rows.line_num}"),
            row.get("source") or row["label"],
            row.get("generator") or "",
        )
        for row in rows
    ]


def _folders(path: Path) -> list[Sample]:
    if not path.is_dir():
        raise UserError(f"{path}: expected a CSV table or a folder")
    samples = []
    for folder in sorted(item for item in path.iterdir() if item.is_dir()):
        label = _label(folder.name, str(folder))
        for parent, names, files in os.walk(folder):
            names.sort()
            inside = Path(parent).relative_to(folder).parts
            source = inside[0] if inside else folder.name
            samples += [
                Sample(Path(parent, name), label, source)
                for name in sorted(files)
                if name.lower().endswith(SUFFIXES)
            ]
    return samples


def _label(word: str, where: str) -> bool:
    try:
        return LABELS[word.strip().lower()]
    except KeyError:
        raise UserError(f"{where}: expected a label of {', '.join(LABELS)}, got {word!r}") from None


def folds(
    samples: Sequence[Sample],
    count: int,
    seed: int,
    labels: Sequence[bool] = (False, True),
) -> NDArray[np.int64]:
    """Assign each sample to one of `count` folds; a source is wholly in one.

    Each class is dealt out by itself, its largest sources first, to the fold that holds the
    fewest pictures of it, so that every fold holds both classes. Equal sizes are shuffled.

    Args:
        samples: pictures.
        count: number of folds.
        seed: of the shuffling.
        labels: the classes that occur.

    Returns:
        Fold of each sample, 0 to `count` - 1, shape `(N,)`.

    Raises:
        UserError: if a class has fewer sources than folds.
    """
    rng = np.random.default_rng(seed)
    place: dict[str, int] = {}
    for label in labels:
        sizes = Counter(s.source for s in samples if s.machine_made is label)
        if len(sizes) < count:
            kind = "machine-made pictures" if label else "photographs"
            raise UserError(
                f"expected at least {count} sources of {kind} for {count} folds, got {len(sizes)}"
            )
        held = np.zeros(count)
        for source in place:
            held[place[source]] += sizes.pop(source, 0)
        names = sorted(sizes)
        noise = dict(zip(names, rng.uniform(0.5, 2.0, len(names)), strict=True))
        for name in sorted(names, key=lambda name: -sizes[name] * noise[name]):
            place[name] = int(np.argmin(held + rng.uniform(0, 1e-3, count)))
            held[place[name]] += sizes[name]
    return np.array([place[sample.source] for sample in samples], np.int64)


def source_count(samples: Sequence[Sample]) -> int:
    """Return the number of sources of the class that has fewer."""
    return min(
        len({s.source for s in samples if s.machine_made is label}) for label in (False, True)
    )


def thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return at most `most` samples of each class, evenly from the whole list, in its order."""
    kept: set[int] = set()
    for label in (False, True):
        own = [number for number, sample in enumerate(samples) if sample.machine_made is label]
        step = max(1.0, len(own) / most)
        kept.update(own[int(turn * step)] for turn in range(min(most, len(own))))
    return [sample for number, sample in enumerate(samples) if number in kept]


def balance(samples: Sequence[Sample], power: float = 0.5) -> NDArray[np.float64]:
    """Weigh samples so that both classes count alike and no source drowns the others.

    Args:
        samples: pictures.
        power: a source counts as its size to this power; 0 for each source alike.

    Returns:
        Weights with mean 1, shape `(N,)`.
    """
    sizes = Counter((sample.machine_made, sample.source) for sample in samples)
    weights = np.array([sizes[s.machine_made, s.source] ** (power - 1) for s in samples])
    totals: dict[bool, Any] = defaultdict(float)
    for sample, weight in zip(samples, weights, strict=True):
        totals[sample.machine_made] += weight
    share = np.array([totals[sample.machine_made] for sample in samples])
    return np.asarray(weights / share * len(samples) / len(totals), np.float64)
