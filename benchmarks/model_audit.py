"""How often an audit of a model says *found* with two planted copies among 450, and without.

    python benchmarks/model_audit.py PICTURES --work FOLDER --side 64 --rounds 1000

PICTURES is a folder of distinct pictures. Each is read once, searched once among all the others,
and compared once with what it was found to show; changed copies (JPEG, colour, crop, mirror) of
some of them as well. FOLDER keeps that, so that a run that was stopped goes on. Each round then
draws a training set, a holdout and 450 outputs; outputs are pictures that are in neither, the
output of a perfect generator, with or without two copies of one kind among them. The audit's own
code counts and decides; only its searches are looked up, so that a round costs a fifth of a second.

`--check N` runs N rounds through files as well and says whether the answers are the same.
"""

import argparse
import os
import pickle
import random
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from counterproof.audit import copy_search, model_audit
from counterproof.audit.copy_index import CopyIndex
from counterproof.audit.copy_search import Match, Searcher, read_query
from counterproof.audit.model_answers import Answer, clopper_pearson
from counterproof.audit.model_pictures import _vector
from counterproof.images import ImageFile
from counterproof.settings import Settings

KINDS = ("jpeg", "colour", "crop", "mirror")
BASES = 60  # pictures of which changed copies are made
MOST = 40  # matches of a picture that are kept


def change(picture: np.ndarray, kind: str) -> tuple[np.ndarray, int]:
    """Return a copy and the JPEG quality that it is saved with."""
    height, width = picture.shape[:2]
    if kind == "jpeg":
        return picture, 20
    if kind == "colour":
        bright = np.clip(255 * (picture / 255.0) ** 0.7 * [1.1, 1.0, 0.95], 0, 255)
        return bright.astype(np.uint8), 85
    if kind == "crop":
        y, x = round(height * 0.05), round(width * 0.05)
        return picture[y : height - y, x : width - x], 85
    return np.ascontiguousarray(picture[:, ::-1]), 85


@dataclass(slots=True)
class Picture:
    """One picture, and all that it was found to show among the pool."""

    path: str
    digest: str
    size: tuple[int, int]
    vector: np.ndarray
    matches: list[tuple[Match, float]]


class Deal:
    """A folder of a round, as `model_pictures.Pictures`."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures
        self.paths = [item.path for item in pictures]
        self.digests = [item.digest for item in pictures]
        self.vectors = np.array([item.vector for item in pictures], np.float32) / np.float32(255)

    def __len__(self) -> int:
        return len(self.pictures)

    def queries(self, wanted: Sequence[int]) -> list[Any]:
        """Return what is searched for of some pictures."""
        chosen = [self.pictures[n] for n in wanted]
        return [SimpleNamespace(sha256=i.digest, size=i.size, of=i) for i in chosen]

    def said(self, _asked: str) -> dict[int, str]:
        """Return nothing: each round asks anew."""
        return {}

    def keep(self, _asked: str, _answers: dict[int, str]) -> None:
        """Keep nothing."""


class LookedUp:
    """A searcher of a training set that answers from what was found among the pool."""

    def __init__(self, members: Deal) -> None:
        self.members = set(members.paths)

    def search(self, query: Any, most: int = 20) -> list[Match]:
        """Return the matches of a picture that are in the training set, surest first."""
        found = [m for m, _ in query.of.matches if m.reference.location in self.members]
        return found[:most]


def prepare(source: Path, work: Path, side: int) -> list[Path]:
    """Write the pool and the changed copies, all at one size."""
    pool = work / "pool"
    if not (work / "written").exists():
        files = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
        pool.mkdir(parents=True, exist_ok=True)
        (work / "copies").mkdir(exist_ok=True)
        rng = random.Random(1)
        bases = set(rng.sample(range(len(files)), min(BASES, len(files) // 4)))
        for number, path in enumerate(files):
            picture = cv2.imread(str(path))
            if picture is None:
                continue
            small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
            name = f"{number:05d}.jpg"
            cv2.imwrite(str(pool / name), small, [1, 92])
            for kind in KINDS if number in bases else ():
                copy, quality = change(small, kind)
                cv2.imwrite(str(work / "copies" / f"{kind}-{name}"), copy, [1, quality])
        (work / "written").touch()
    return sorted(pool.iterdir()) + sorted((work / "copies").iterdir())


def look_up(paths: list[Path], work: Path) -> dict[str, Picture]:
    """Read and search every picture that is not kept yet."""
    # among more works than a round has, more candidates, so that none of a round's is missed
    copy_search._CANDIDATES = 60
    kept = sqlite3.connect(work / "found.sqlite", isolation_level=None)
    kept.execute("CREATE TABLE IF NOT EXISTS found (name TEXT PRIMARY KEY, data BLOB)")
    known = {name for (name,) in kept.execute("SELECT name FROM found")}
    with CopyIndex.open(work / "pool.index", create=True) as index:
        index.add([str(work / "pool")], Settings(home=work))
        searcher = Searcher(index)
        for number, path in enumerate(paths):
            name = f"{path.parent.name}/{path.name}"
            if name in known:
                continue
            image = ImageFile.open(path)
            query = read_query(image)
            own = str(path) if path.parent.name == "pool" else ""
            matches = [
                (match, 1.0 if match.by == "bytes" else model_audit._agreement(str(path), match))
                for match in searcher.search(query, excluding=own, most=MOST)
            ]
            item = Picture(str(path), query.sha256, query.size, _vector(image), matches)
            kept.execute("INSERT INTO found VALUES (?, ?)", (name, pickle.dumps(item)))
            if number % 200 == 0:
                print(number, "of", len(paths), "looked up", flush=True)
    return {n: pickle.loads(d) for n, d in kept.execute("SELECT name, data FROM found")}


def one_round(
    table: dict[str, Picture], seed: int, training: int, outputs: int
) -> tuple[dict[str, Answer], dict[str, list[Picture]]]:
    """Deal once; return the headline with each kind of copies and without, and the folders."""
    rng = random.Random(seed)
    pool = sorted(name for name in table if name.startswith("pool/"))
    names = rng.sample(pool, training + 2 * outputs)
    trained = names[:training]
    based = [n for n in trained if f"copies/{KINDS[0]}-{n[5:]}" in table]
    bases = rng.sample(based, 2)
    members = Deal([table[n] for n in trained])
    others = Deal([table[n] for n in names[training : training + outputs]])
    clean = [table[n] for n in names[training + outputs :]]
    planted = {kind: [table[f"copies/{kind}-{n[5:]}"] for n in bases] for kind in KINDS}
    everything = Deal(clean + [item for kind in KINDS for item in planted[kind]])
    searcher: Any = LookedUp(members)
    known = {
        (item.path, match.reference.location): agrees
        for item in (*everything.pictures, *others.pictures)
        for match, agrees in item.matches
    }
    model_audit._agreement = lambda path, match: known[path, match.reference.location]
    found: Any = model_audit._copies(everything, members, searcher)  # type: ignore[arg-type]
    control = model_audit._copies(others, members, searcher)  # type: ignore[arg-type]
    answers, folders = {}, {"training": list(members.pictures), "holdout": list(others.pictures)}
    for number, kind in enumerate((*KINDS, "clean")):
        first = len(clean) + 2 * number
        kept = len(clean) - 2 if kind != "clean" else len(clean)
        pairs = {n: r for n, r in found.items() if n < kept or first <= n < first + 2}
        if kind == "clean":
            pairs = {n: r for n, r in found.items() if n < len(clean)}
        made = Deal([*clean[:kept], *planted.get(kind, [])])
        seen = set(members.digests)
        answers[kind] = model_audit._headline(pairs, made, control, others, seen)  # type: ignore[arg-type]
        folders[kind] = list(made.pictures)
    return answers, folders


def through_files(folders: dict[str, list[Picture]], kind: str) -> Answer:
    """Ask the same of the audit itself, with folders of files."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for part in ("training", "holdout", kind):
            (root / part).mkdir()
            for number, item in enumerate(folders[part]):
                (root / part / f"{number:04d}.jpg").symlink_to(item.path)
        settings = Settings(home=root / "home")
        return model_audit.audit_model(
            root / kind, root / "training", root / "holdout", settings=settings
        ).answers[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder that is kept")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--outputs", type=int, default=450)
    parser.add_argument("--training", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--exclude", nargs="*", default=[], help="seen by eye to repeat another")
    parser.add_argument("--check", type=int, default=0, help="rounds that also run through files")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    work = Path(os.path.abspath(args.work))  # as the index names its works
    table = look_up(prepare(args.pictures, work, args.side), work)
    for name in args.exclude:
        del table[f"pool/{name}"]
    whole = model_audit._agreement
    tally: dict[str, list[str]] = {kind: [] for kind in (*KINDS, "clean")}
    for number in range(args.rounds):
        answers, folders = one_round(table, args.seed + number, args.training, args.outputs)
        for kind, answer in answers.items():
            tally[kind].append(answer.answer)
            if (answer.answer == "found") == (kind == "clean"):
                print(number, kind, answer.answer, answer.k, answer.details, flush=True)
            if number < args.check:
                model_audit._agreement = whole
                again = through_files(folders, kind)
                same = (again.answer, again.k) == (answer.answer, answer.k)
                print(number, kind, answer.answer, answer.k, "as looked up" if same else again)
    print(len(table), "pictures looked up")
    for kind, said in tally.items():
        k, n = said.count("found"), len(said)
        low, high = clopper_pearson(k, n)
        rest = {word: said.count(word) for word in ("clear", "not_resolvable")}
        print(f"{kind}: found {k} of {n} [{low:.4f}, {high:.4f}], else {rest}")


if __name__ == "__main__":
    main()
