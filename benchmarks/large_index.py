"""An index of very many works: added, searched, opened again; time, memory, disk.

    python benchmarks/large_index.py WORKS.index QUERIES --count 1000000 --work FOLDER

WORKS.index is an index of real works. Its features are dealt out anew: each made-up work gets 250
features of as many works, with the lowest bit of some coefficients changed, and a real hash with 4
to 64 bits flipped. They are written as indices of 250,000, which `counterproof index add` takes
over, beside the real works; then `counterproof index search` looks for changed copies among them.
QUERIES is a folder of changed copies of the real works, called WORK-CHANGE.jpg after them, and of
pictures that are in no index, called stranger…. Each command is a process of its own: its CPU time,
and the most memory it held. FOLDER keeps what is done. A made-up work can match by its hash alone,
which is that of a real work but for a few bits; such matches are counted apart.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from hamming import flip

from counterproof.audit.copy_index import CopyIndex
from counterproof.audit.local_features import CODE, MAX_REFERENCE, PACKED
from counterproof.audit.model_answers import clopper_pearson

PART = 250_000
STEP = 2_000


def write_part(source: CopyIndex, target: Path, first: int, count: int, seed: int) -> None:
    """Write an index of made-up works."""
    rng = np.random.default_rng(seed)
    hashes, detail, numbers = source.hashes()
    own = b"".join(source.features(int(n)) for n in rng.permutation(numbers)[:4000])
    pool = np.frombuffer(own, np.uint8).reshape(-1, PACKED)[:, PACKED - CODE :]
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with CopyIndex.open(partial, create=True) as made:
        db = made._db
        db.execute("BEGIN")
        for start in range(0, count, STEP):
            n = min(STEP, count - start)
            table = np.empty((n * MAX_REFERENCE, PACKED), np.uint8)
            table[:, :4] = rng.integers(0, 256, (len(table), 4), dtype=np.uint8)
            noise = rng.integers(0, 256, (len(table), CODE), dtype=np.uint8) & 0x11
            table[:, 4:] = pool[rng.integers(0, len(pool), len(table))] ^ noise
            chosen = rng.integers(0, len(hashes), n)
            words = flip(hashes[chosen], 4, 64, rng)
            for i in range(n):
                number = first + start + i
                values = (f"/made-up/{number:08d}.jpg".encode(), 100_000, 1, rng.bytes(32).hex())
                shape = (1024, 768, words[i].tobytes(), float(detail[chosen[i]]), "[]")
                row = db.execute(
                    "INSERT INTO reference (path, size, mtime, sha256, width, height, hash, "
                    "detail, reserved) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*values, *shape),
                ).lastrowid
                data = table[i * MAX_REFERENCE : (i + 1) * MAX_REFERENCE].tobytes()
                db.execute("INSERT INTO feature VALUES (?, ?)", (row, data))
        db.execute("COMMIT")
    partial.rename(target)


def measured(name: str, *arguments: str) -> str:
    """Run a command; say what it took; return what it printed."""
    script = (
        "import resource, sys\ncode = 0\n"
        "from counterproof.app.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "said = (used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)\n"
        "print('USED %.1f CPU-s, at most %.0f MiB' % said, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if line]
    print(f"{name}: {time.monotonic() - begun:.0f} s by the clock;", *said[-2:], flush=True)
    if done.returncode not in (0, 3):
        sys.exit(done.stderr)
    return done.stdout


def judge(rows: list[dict[str, Any]]) -> None:
    """Print how many copies were found, and how many matches name another work."""
    copies = found = strangers = made_up = false = matches = 0
    for row in rows:
        wanted, _, change = Path(row["path"]).stem.partition("-")
        copies, strangers = copies + bool(change), strangers + (not change)
        right = False
        for match in row["matches"]:
            if Path(match["path"]).parent == Path(row["path"]).parent:  # the one that was added
                continue
            if match["by"] == "hash" and match["path"].startswith("/made-up/"):
                made_up += 1
                continue
            matches += 1
            if change and Path(match["path"]).stem == wanted:
                right = True
            else:
                false += 1
                print(f"{row['path']} is said to show {match['path']}, by {match['by']}")
        found += right
        if change and not right:
            print(f"{row['path']} was not found")
    low, high = clopper_pearson(found, copies)
    print(f"found {found} of {copies} [{low:.3f}, {high:.3f}], {strangers} strangers")
    print(f"{false} of {matches} matches name another work; {made_up} by hash with made-up works")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("works")
    parser.add_argument("queries", type=Path)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, required=True, help="folder that is kept")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    large = args.work / "large.index"
    if not large.exists():
        measured("the real works", "index", "build", args.works, "-o", str(large))
    with CopyIndex.open(large) as index, CopyIndex.open(args.works) as works:
        done, real = len(index), len(works)
    grown = False
    for number, first in enumerate(range(0, args.count - real, PART)):
        count = min(PART, args.count - real - first)
        if done >= real + first + count:
            continue
        part = args.work / f"part{number}.index"
        if not part.exists():
            with CopyIndex.open(args.works) as works:
                write_part(works, part, first, count, number)
        measured(f"add {count} to {real + first}", "index", "add", str(large), str(part))
        part.unlink()
        grown = True
    measured("add one picture", "index", "add", str(large), str(next(args.queries.iterdir())))
    size = os.path.getsize(large)
    print(f"{size / 1e9:.2f} GB on disk, {size / args.count / 1000:.2f} KB a work", flush=True)
    if grown:  # which is to read the whole file
        with CopyIndex.open(large) as index:
            for table in ("feature", "list"):
                sizes = f"SELECT sum(length(data)) FROM {table}"
                size = index._db.execute(sizes).fetchone()[0] / len(index)
                print(table, f"{size:.0f} bytes a work")
    one = str(next(args.queries.iterdir()))
    measured("opened, one picture searched", "index", "search", str(large), one)
    found = measured("all pictures searched", "index", "search", str(large), str(args.queries))
    judge([json.loads(line) for line in found.splitlines()])


if __name__ == "__main__":
    main()
