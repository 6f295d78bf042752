"""Two independent C2PA verifiers over the same mutants of signed files, and our scan over them.

    python benchmarks/crosscheck.py CREDENTIALS -o ROWS.jsonl [--count 2000] [--seed 7] [--most N]

Every file of CREDENTIALS that carries a credential is read as it is, and COUNT mutants of the
pictures of at most 1 MiB among them: one change each, of a kind drawn in turn, at a place drawn
from the seed. A scan reads them (file, credential, second verifier, labels, traces, rights) in
worker processes with the time limits of any scan. The table says how often the verifiers agree.
Every disagreement gets a cause by the rules of `crosscheck_causes.py`, from its bytes; the last
line counts those without one, and the command fails if there are any. A changed byte is *covered*
if the file's own hash, as signed, does not leave it out: of those none may be called intact.
ROWS.jsonl keeps a line for each file; the same command goes on where it stopped, after at most N
files where `--most` says so, and prints the table of those that are there.
Needs the extra `crosscheck`.
"""

import argparse
import json
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosscheck_causes import RULES, UNEXPLAINED, cause_of
from crosscheck_causes import Case as Disagreement

from counterproof.analysis import Stage
from counterproof.audit.case import Case
from counterproof.audit.examine import ScanSpec
from counterproof.audit.scan import scan_into
from counterproof.findings import Record
from counterproof.images import ImageFile
from counterproof.provenance.credentials import read_credential
from counterproof.provenance.crosscheck import verifier_version
from counterproof.provenance.manifest_store import library_version
from counterproof.provenance.trust import load_trust
from counterproof.settings import Settings

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"}
SUFFIXES |= {".svg", ".dng"}
FURTHER = {".mp4", ".mov", ".m4a", ".avi", ".wav", ".mp3", ".flac", ".pdf", ".jxl"}
MAX_BYTES = 2**20
CHUNK = 200
UNCHANGED = "unchanged"
CHECKS = ("file", "c2pa", "labels", "traces", "rights")


@dataclass(frozen=True)
class Signed:
    """A file that carries a credential.

    Attributes:
        name: of the file.
        data: its bytes.
        stores: where its manifest store lies, as (offset, length).
        metadata: the same of its other metadata blocks.
        excluded: byte ranges that its hash leaves out; None where it is not a hash by ranges.
    """

    name: str
    data: bytes
    stores: tuple[tuple[int, int], ...]
    metadata: tuple[tuple[int, int], ...]
    excluded: tuple[tuple[int, int], ...] | None


@dataclass(frozen=True)
class Mutant:
    """One changed copy.

    Attributes:
        kind: how it was changed.
        source: name of the file.
        data: its bytes.
        covered: whether a byte that the hash covers was changed; None if that is not known.
    """

    kind: str
    source: str
    data: bytes
    covered: bool | None


def is_small(path: Path) -> bool:
    """Tell whether a file is a picture that mutants are made of."""
    return path.suffix.lower() in SUFFIXES and 0 < path.stat().st_size <= MAX_BYTES


def carriers(folder: Path, small: bool) -> list[Signed]:
    """Read the carriers of a folder: the small pictures, or all the others."""
    trust, settings = load_trust(None), Settings(home=folder)
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES | FURTHER or is_small(path) is not small:
            continue
        image = ImageFile.open(path)
        credential = read_credential(image, trust, settings.as_of)
        blocks = image.metadata.blocks
        stores = tuple((b.offset, b.length) for b in blocks if b.kind == "c2pa" and b.length)
        if credential is None or not stores:
            continue
        ranges = credential.coverage.get("excluded") if credential.coverage else None
        by_range = bool(ranges) and credential.answers.integrity.value == "intact"
        excluded = tuple((a, b) for a, b in ranges) if by_range and ranges else None
        others = tuple(
            (b.offset, b.length)
            for b in blocks
            if b.kind in ("exif", "xmp", "iptc", "text", "icc") and 8 < b.length < len(image.data)
        )
        found.append(Signed(path.name, image.data, stores, others, excluded))
    return found


def _covered(item: Signed, at: int, length: int = 1) -> bool | None:
    if item.excluded is None:
        return None
    return not any(low <= at and at + length <= low + size for low, size in item.excluded)


def _place(ranges: tuple[tuple[int, int], ...], rng: random.Random) -> int:
    at, length = rng.choice(ranges)
    return at + rng.randrange(length)


def flip(item: Signed, rng: random.Random) -> Mutant:
    return _set(item, "bit flip anywhere", rng.randrange(len(item.data)), rng)


def flip_store(item: Signed, rng: random.Random) -> Mutant:
    return _set(item, "bit flip in the manifest store", _place(item.stores, rng), rng)


def flip_metadata(item: Signed, rng: random.Random) -> Mutant:
    ranges = item.metadata or item.stores
    return _set(item, "bit flip in EXIF, XMP or text", _place(ranges, rng), rng)


def flip_excluded(item: Signed, rng: random.Random) -> Mutant:
    ranges = tuple(r for r in item.excluded or () if r[1] and sum(r) <= len(item.data))
    return _set(item, "bit flip inside an exclusion", _place(ranges or item.stores, rng), rng)


def _set(item: Signed, kind: str, at: int, rng: random.Random) -> Mutant:
    data = bytearray(item.data)
    data[at] ^= 1 << rng.randrange(8)
    return Mutant(kind, item.name, bytes(data), _covered(item, at))


def overwrite(item: Signed, rng: random.Random) -> Mutant:
    length = rng.choice((4, 16, 256))
    at = rng.randrange(max(1, len(item.data) - length))
    data = item.data[:at] + rng.randbytes(length) + item.data[at + length :]
    return Mutant("bytes overwritten", item.name, data, _covered(item, at, length))


def truncate(item: Signed, rng: random.Random) -> Mutant:
    at = rng.randrange(16, len(item.data))
    return Mutant("truncated", item.name, item.data[:at], None)


def append(item: Signed, rng: random.Random) -> Mutant:
    extra = rng.randbytes(rng.choice((1, 32, 4096)))
    return Mutant("bytes appended", item.name, item.data + extra, None)


def cut_out(item: Signed, rng: random.Random) -> Mutant:
    length = rng.choice((1, 7, 64))
    at = rng.randrange(max(1, len(item.data) - length))
    return Mutant("bytes removed", item.name, item.data[:at] + item.data[at + length :], None)


def box(item: Signed, rng: random.Random) -> Mutant:
    """Lie in the header of one JUMBF box: its length, its type, or its label."""
    at, length = rng.choice(item.stores)
    names = (b"jumb", b"jumd", b"cbor", b"json", b"bfdb", b"bidb", b"uuid")
    heads = [
        place
        for name in names
        for place in _all(item.data, name, at, at + length)
        if place >= at + 4
    ]
    if not heads:
        return flip_store(item, rng)
    place, data = rng.choice(heads), bytearray(item.data)
    what = rng.randrange(3)
    if what == 0:
        (size,) = struct.unpack_from(">I", data, place - 4)
        size = rng.choice((0, 1, 7, size - 1, size + 1, size * 2, 2**32 - 1)) & 0xFFFFFFFF
        struct.pack_into(">I", data, place - 4, size)
    elif what == 1:
        data[place : place + 4] = rng.choice(names)
    else:
        data[place + 4 + rng.randrange(24)] ^= 0x20
    return Mutant("JUMBF box edited", item.name, bytes(data), None)


def _all(data: bytes, word: bytes, start: int, end: int) -> Iterator[int]:
    at = data.find(word, start, end)
    while at >= 0:
        yield at
        at = data.find(word, at + 1, end)


def doubled(item: Signed, rng: random.Random) -> Mutant:
    """Put one block of the file in twice: the store, or other metadata."""
    at, length = rng.choice(item.stores + item.metadata)
    block = item.data[at : at + length]
    return Mutant(
        "block doubled",
        item.name,
        item.data[: at + length] + block + item.data[at + length :],
        None,
    )


KINDS: tuple[Callable[[Signed, random.Random], Mutant], ...] = (
    flip,
    flip_store,
    flip_metadata,
    flip_excluded,
    overwrite,
    truncate,
    append,
    cut_out,
    box,
    doubled,
)


def mutants(files: list[Signed], count: int, seed: int) -> Iterator[Mutant]:
    """Draw mutants; the same seed gives the same ones."""
    for number in range(count):
        rng = random.Random(f"{seed}:{number}")
        yield KINDS[number % len(KINDS)](rng.choice(files), rng)


def scanned(
    items: list[tuple[int, Mutant]], folder: Path, jobs: int
) -> Iterator[tuple[int, Mutant, Record]]:
    """Write files, scan them, remove them; yield each with its number and its record."""
    spec = ScanSpec(Settings(home=folder / "home"), Stage.QUICK, only=CHECKS)
    for start in range(0, len(items), CHUNK):
        place = folder / f"chunk{start}"
        place.mkdir()
        part, paths = items[start : start + CHUNK], []
        for number, item in part:
            path = place / f"{number:05}{Path(item.source).suffix}"
            path.write_bytes(item.data)
            paths.append(str(path))
        with Case.open(place / "scan.case", create=True) as case:
            outcomes = scan_into(case, paths, spec, jobs=jobs)
            for (number, item), done in zip(part, outcomes, strict=True):
                yield number, item, done.record
        for path in place.iterdir():
            path.unlink()


def integrity(record: Record) -> str:
    """Return what the first verifier and our own check say of the bytes; '' without credential."""
    for finding in record.findings:
        if finding.code.startswith("c2pa.manifest."):
            word = str(finding.details["answers"]["integrity"])
            return "unchecked" if word == "none" else word
    return ""


def disagreement(record: Record) -> dict[str, Any] | None:
    for finding in record.findings:
        if finding.code == "c2pa.disagreement":
            return finding.details
    return None


def cause(details: dict[str, Any]) -> str:
    """Name what the two say, and the codes or words of the one that objects."""
    first = ", ".join(details["first_codes"]) or "-"
    second = ", ".join(details["second_codes"]) or "-"
    error = str(details.get("second_error", "")).partition("(")[0][:90]
    said = f"{details['about']}: {details['first']} [{first}] / {details['second']} [{second}]"
    return f"{said} {error}".rstrip()


def explained(item: Mutant, source: bytes, said: dict[str, Any]) -> str:
    """Return the cause of one disagreement, from the bytes."""
    settings = Settings(home=Path("/nonexistent"))
    credential = read_credential(ImageFile.open(item.data), load_trust(None), settings.as_of)
    if credential is None:
        return UNEXPLAINED
    return cause_of(Disagreement(item.data, source, credential, said))


def row_of(number: int, item: Mutant, source: bytes, record: Record) -> dict[str, Any]:
    """Return what is kept of one file."""
    found = disagreement(record)
    return {
        "number": number,
        "kind": item.kind,
        "source": item.source,
        "covered": item.covered,
        "status": record.verdict.status.value,
        "integrity": integrity(record),
        "agreed": record.facts.get("credential.verifiers_agree"),
        "about": found["about"] if found else "",
        "first": found["first"] if found else "",
        "second": found["second"] if found else "",
        "cause": cause(found) if found else "",
        "rule": explained(item, source, found) if found else "",
        "faults": [f.code for f in record.findings if f.state in ("failed", "timeout")],
    }


def report(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n## {title}, n = {len(rows):,}\n")
    kinds: dict[str, Counter[str]] = {}
    faults: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for row in rows:
        counts = kinds.setdefault(row["kind"], Counter())
        counts["n"] += 1
        faults.update(row["faults"])
        if row["about"]:
            counts[row["about"]] += 1
        else:
            counts["agree" if row["agreed"] else "one reader"] += 1
        if row["covered"] and row["integrity"] == "intact":
            passed[f"first: {row['kind']}"] += 1
        if row["covered"] and row["about"] in ("bytes", "reach") and row["second"] == "intact":
            passed[f"second: {row['kind']}"] += 1
        counts["intact"] += row["integrity"] == "intact"
    heads = ("n", "agree", "bytes", "reach", "parents", "signer", "one reader", "intact")
    print("| change | " + " | ".join(heads) + " |\n|---" + "|--:" * len(heads) + "|")
    for kind, counts in kinds.items():
        print(f"| {kind} | " + " | ".join(str(counts[head]) for head in heads) + " |")
    total: Counter[str] = sum(kinds.values(), Counter())
    print("| all | " + " | ".join(str(total[head]) for head in heads) + " |")
    print(f"\ncovered byte changed: {sum(bool(row['covered']) for row in rows)}")
    print(f"of those called intact: {dict(passed) or 'none'}")
    print(f"faults of the scan: {dict(faults) or 'none'}")
    print("\n| cause | n | the first says | the second says | on |\n|---|--:|---|---|---|")
    for rule in [*(one.__name__ for one in RULES), UNEXPLAINED]:
        hit = [row for row in rows if row["about"] and row["rule"] == rule]
        if hit:
            names = sorted({row["source"] for row in hit})
            cells = [rule, str(len(hit))]
            cells += [" or ".join(sorted({row[who] for row in hit})) for who in ("first", "second")]
            print(f"| {' | '.join(cells)} | {len(names)} files: {', '.join(names[:3])} |")
    for row in rows:
        if row["about"] and row["rule"] == UNEXPLAINED:
            print(f"{UNEXPLAINED}: {row['number']} {row['source']} ({row['kind']}): {row['cause']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--rows", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--most", type=int, default=0, help="scan at most so many in this run")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    print(f"{time.strftime('%Y-%m-%d')}, {library_version()}; {verifier_version()}; {commit}")
    files, further = carriers(options.folder, True), carriers(options.folder, False)
    sources = {item.name: item.data for item in [*further, *files]}
    whole = [Mutant(UNCHANGED, item.name, item.data, None) for item in files]
    drawn = [*whole, *mutants(files, options.count, options.seed)]
    drawn += [Mutant(UNCHANGED, item.name, item.data, None) for item in further]
    lines = options.rows.read_text().splitlines() if options.rows.is_file() else []
    rows = {row["number"]: row for row in map(json.loads, lines)}
    waiting = [(number, item) for number, item in enumerate(drawn) if number not in rows]
    waiting = waiting[: options.most or None]
    with tempfile.TemporaryDirectory() as folder, options.rows.open("a") as kept:
        for number, item, record in scanned(waiting, Path(folder), options.jobs):
            rows[number] = row_of(number, item, sources[item.source], record)
            kept.write(json.dumps(rows[number]) + "\n")
            kept.flush()
    print(f"{len(rows):,} of {len(drawn):,}", file=sys.stderr)
    ordered = [rows[number] for number in sorted(rows)]
    report("Files as they are", [row for row in ordered if row["kind"] == UNCHANGED])
    report("Mutants", [row for row in ordered if row["kind"] != UNCHANGED])
    unexplained = sum(row["about"] != "" and row["rule"] == UNEXPLAINED for row in ordered)
    print(f"\nunexplained: {unexplained} of {sum(row['about'] != '' for row in ordered)}")
    if unexplained:
        sys.exit(1)


if __name__ == "__main__":
    main()
