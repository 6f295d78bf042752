"""How many copies an index finds, and how many strangers it takes for copies.

    python benchmarks/copies.py PHOTOS --originals 150 --strangers 300 --part report -o FILE

PHOTOS is a folder with one folder of photographs per source. Originals, strangers and
distractors are drawn from it by a fixed seed; `--part tune` takes other originals and strangers
than `--part report`. Each original is changed in 19 ways; strangers are changed likewise and are
in no index. All that the search weighed is written to FILE, so that thresholds are chosen on one
part and reported on the other: `--evaluate FILE`. imagededup is compared where it is installed; its
hashes need neither its network nor torch.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from counterproof.audit import copy_search
from counterproof.audit.copy_index import CopyIndex
from counterproof.audit.copy_search import Searcher, read_query
from counterproof.audit.pdq import MIN_QUALITY, RADIUS_BITS, pdq
from counterproof.images import ImageFile
from counterproof.settings import load_settings

Pixels = np.ndarray[Any, Any]
SIDE = 640
SHIPPED = (
    copy_search.HASH_BITS,
    copy_search.NEAR_BITS,
    copy_search.NEAR_INLIERS,
    copy_search.INLIERS,
    copy_search.AGREEMENT,
    copy_search.SURE,
)


def crop(a: Pixels, share: float, rng: random.Random) -> Pixels:
    h, w = a.shape[:2]
    ch, cw = int(h * share**0.5), int(w * share**0.5)
    y, x = rng.randint(0, h - ch), rng.randint(0, w - cw)
    return a[y : y + ch, x : x + cw]


def turn(a: Pixels, degrees: float) -> Pixels:
    h, w = a.shape[:2]
    return cv2.warpAffine(a, cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1), (w, h))


def caption(a: Pixels) -> Pixels:
    a = a.copy()
    h, w = a.shape[:2]
    band = int(h * 0.18)
    a[-band:] = (20, 20, 20)
    white, yellow = (255, 255, 255), (0, 255, 255)
    cv2.putText(a, "BREAKING: see what happened next", (8, h - band // 3), 0, w / 560, white, 2, 16)
    cv2.putText(a, "@viral_page", (8, int(h * 0.12)), 0, w / 400, yellow, 3, 16)
    return a


def border(a: Pixels) -> Pixels:
    h, w = a.shape[:2]
    white = (255, 255, 255)
    return cv2.copyMakeBorder(a, h // 8, h // 8, w // 8, w // 8, cv2.BORDER_CONSTANT, value=white)


def colour(a: Pixels) -> Pixels:
    x = cv2.cvtColor(a, cv2.COLOR_BGR2HSV).astype(np.float32)
    x[..., 0] = (x[..., 0] + 15) % 180
    x[..., 1] *= 1.5
    y = cv2.cvtColor(np.clip(x, 0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR).astype(np.float32)
    return np.clip(255 * (y / 255) ** 0.6 * 1.1, 0, 255).astype(np.uint8)


def collage(a: Pixels, others: list[Pixels], rng: random.Random) -> Pixels:
    tiles = [cv2.resize(item, (320, 240)) for item in (a, *rng.sample(others, 3))]
    rng.shuffle(tiles)
    return np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])


def insert(a: Pixels, others: list[Pixels], share: float, rng: random.Random) -> Pixels:
    ground = cv2.resize(rng.choice(others), (640, 480)).copy()
    h, w = a.shape[:2]
    s = min(640 * share**0.5 / w, 480 * share**0.5 / h)
    small = cv2.resize(a, None, fx=s, fy=s, interpolation=cv2.INTER_AREA)
    y, x = rng.randint(0, 480 - small.shape[0]), rng.randint(0, 640 - small.shape[1])
    ground[y : y + small.shape[0], x : x + small.shape[1]] = small
    return ground


def logo(a: Pixels, rng: random.Random) -> Pixels:
    a = a.copy()
    h, w = a.shape[:2]
    for _ in range(6):
        spot = (rng.randrange(w), rng.randrange(h))
        ink = tuple(rng.randrange(256) for _ in range(3))
        cv2.circle(a, spot, min(h, w) // 9, ink, -1)
    return a


def screenshot(a: Pixels) -> Pixels:
    h = a.shape[0]
    grey = (250, 250, 250)
    b = cv2.copyMakeBorder(a, int(h * 0.25), int(h * 0.35), 0, 0, cv2.BORDER_CONSTANT, value=grey)
    cv2.putText(b, "12:41  Chat", (10, int(h * 0.12)), 0, 0.8, (0, 0, 0), 2)
    cv2.putText(b, "Have you seen this??", (10, int(h * 1.42)), 0, 0.8, (60, 60, 60), 2)
    return cv2.resize(b, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)


def perspective(a: Pixels) -> Pixels:
    h, w = a.shape[:2]
    source = np.float32([[0, 0], [w, 0], [w, h], [0, h]])
    target = np.float32([[w * 0.12, h * 0.05], [w * 0.97, 0], [w, h * 0.88], [0, h]])
    return cv2.warpPerspective(a, cv2.getPerspectiveTransform(source, target), (w, h))


def shrink(a: Pixels) -> Pixels:
    return cv2.resize(a, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)


Attack = Callable[[Pixels, list[Pixels], random.Random], Pixels]
ATTACKS: dict[str, tuple[Attack, int]] = {
    "jpeg20": (lambda a, o, r: a, 20),
    "resize25": (lambda a, o, r: shrink(a), 85),
    "crop80": (lambda a, o, r: crop(a, 0.8, r), 85),
    "crop50": (lambda a, o, r: crop(a, 0.5, r), 85),
    "crop25": (lambda a, o, r: crop(a, 0.25, r), 85),
    "mirror": (lambda a, o, r: a[:, ::-1], 85),
    "rot5": (lambda a, o, r: turn(a, 5), 85),
    "rot90": (lambda a, o, r: np.rot90(a), 85),
    "caption": (lambda a, o, r: caption(a), 85),
    "border": (lambda a, o, r: border(a), 85),
    "colour": (lambda a, o, r: colour(a), 85),
    "blur": (lambda a, o, r: cv2.GaussianBlur(a, (0, 0), 3), 85),
    "logo": (lambda a, o, r: logo(a, r), 85),
    "screenshot": (lambda a, o, r: screenshot(a), 60),
    "collage": (lambda a, o, r: collage(a, o, r), 80),
    "insert40": (lambda a, o, r: insert(a, o, 0.4, r), 85),
    "insert15": (lambda a, o, r: insert(a, o, 0.15, r), 85),
    "mirror_crop50": (lambda a, o, r: crop(a[:, ::-1], 0.5, r), 85),
    "perspective": (lambda a, o, r: perspective(a), 85),
}


def read(path: Path) -> Pixels | None:
    a = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if a is None or min(a.shape[:2]) < 100:
        return None
    s = SIDE / max(a.shape[:2])
    return cv2.resize(a, None, fx=s, fy=s, interpolation=cv2.INTER_AREA) if s < 1 else a


def draw(photos: Path) -> tuple[list[Path], list[Path]]:
    """Return general photographs, shuffled, and the many of one kind that only distract."""
    general, kinds = [], []
    for folder in sorted(photos.iterdir()):
        many = any(word in folder.name for word in ("clothing", "Grocery", "Fruits", "dreambooth"))
        (kinds if many else general).extend(sorted(folder.glob("*.jpg")))
    random.Random(5).shuffle(general)
    return general, kinds


def phash(data: bytes) -> int:
    import io

    import imagehash
    from PIL import Image

    return int(str(imagehash.phash(Image.open(io.BytesIO(data)))), 16)


def dedup() -> Callable[[bytes], int] | None:
    """Return imagededup's perceptual hash; None without the package."""
    import io
    from unittest.mock import MagicMock

    from PIL import Image

    # the package imports its network, and torchvision with it, which hashes do not need
    for name in ("imagededup.methods.cnn", "imagededup.utils.models"):
        sys.modules.setdefault(name, MagicMock())
    try:
        from imagededup.methods import PHash
    except ImportError:
        return None
    hasher = PHash(verbose=False)

    def of(data: bytes) -> int:
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        return int(hasher.encode_image(image_array=pixels), 16)

    return of


def pdq_of(data: bytes) -> tuple[int, bool]:
    found = pdq(ImageFile.open(data).pixels())
    return int(found.value, 16), found.quality >= MIN_QUALITY


def run(args: argparse.Namespace) -> None:
    general, kinds = draw(args.photos)
    offset = 0 if args.part == "report" else 500
    originals = general[offset : offset + args.originals]
    strangers = general[offset + 180 : offset + 180 + args.strangers]
    # the other part's strangers and originals are left out of the index
    distractors = [*general[1000:], *kinds][: args.distractors]
    settings = load_settings({})
    # weigh more than the search would report, so that thresholds can be chosen afterwards
    copy_search.INLIERS, copy_search.NEAR_INLIERS, copy_search.HASH_BITS = 6, 5, 64
    copy_search.AGREEMENT = copy_search.SURE = -1.0
    rows: list[dict[str, Any]] = []
    if args.output.exists() and args.work:
        rows = json.loads(args.output.read_text())["rows"]
    work = Path(os.path.abspath(args.work or tempfile.mkdtemp()))  # as the index names its works
    folder = work / f"originals-{args.part}"
    folder.mkdir(parents=True, exist_ok=True)
    kept: list[tuple[str, Pixels]] = []
    for number, path in enumerate(originals):
        a = read(path)
        if a is not None:
            name = folder / f"{number:04d}.jpg"
            cv2.imwrite(str(name), a, [1, 92])
            kept.append((str(name), a))
    started = time.process_time()
    with CopyIndex.open(work / f"{args.part}.index", create=True) as index:
        added = index.add([str(folder), *map(str, distractors)], settings)
        print(added.new, "new,", len(added.problems), "unreadable", flush=True)
        spent = time.process_time() - started
        searcher = Searcher(index)
        print(f"{len(index)} references, {1000 * spent / max(1, added.new):.0f} CPU-ms each")
        peers = peers_of([item.location for item in index.references()], work / "peers.json")
        keys = list(peers)
        short = np.array([peers[k][0] for k in keys], dtype=np.uint64)
        long = np.frombuffer(
            b"".join(peers[k][1].to_bytes(32, "big") for k in keys), dtype=np.uint64
        ).reshape(-1, 4)
        good = np.array([peers[k][2] for k in keys])
        dedup_of = dedup()
        twin = np.array([peers[k][3] for k in keys], dtype=np.uint64)
        others = [b for p in strangers if (b := read(p)) is not None]
        jobs = [(name, a, attack) for name, a in kept for attack in ATTACKS]
        plain = [name for name in ATTACKS if name not in ("collage", "insert40", "insert15")]
        jobs += [("", a, plain[i % len(plain)]) for i, a in enumerate(others)]
        random.Random(3).shuffle(jobs)  # a run that is stopped leaves a fair sample
        spent, first = 0.0, len(rows)
        head = {"references": len(keys), "part": args.part}
        for number, (name, a, attack) in enumerate(jobs[: first + args.most]):
            if number < first:
                continue
            change, quality = ATTACKS[attack]
            b = np.ascontiguousarray(change(a, others, random.Random(f"3 {number}")))
            data = cv2.imencode(".jpg", b, [1, quality])[1].tobytes()
            before = time.process_time()
            image = ImageFile.open(data)
            found = searcher.search(read_query(image), image)
            spent += time.process_time() - before
            value, is_good = pdq_of(data)
            word = np.frombuffer(value.to_bytes(32, "big"), dtype=np.uint64)
            far = np.bitwise_count(long ^ word).sum(axis=1)
            near = [keys[i] for i in np.flatnonzero((far <= RADIUS_BITS) & good & is_good)]
            apart = np.bitwise_count(short ^ np.uint64(phash(data)))
            like = [keys[i] for i in np.flatnonzero(apart <= 10)]
            dedupped = []
            if dedup_of:
                apart = np.bitwise_count(twin ^ np.uint64(dedup_of(data)))
                dedupped = [keys[i] for i in np.flatnonzero(apart <= 10)]
            rows.append(
                {
                    "original": name,
                    "attack": attack,
                    "found": [
                        [
                            m.reference.location,
                            m.distance_bits,
                            m.fit.inliers if m.fit else 0,
                            1.0 if m.agrees is None else round(m.agrees, 4),
                            *whole_agreement(m, image),
                        ]
                        for m in found
                    ],
                    "pdq": near,
                    "phash": like,
                    "imagededup": dedupped,
                }
            )
            if number % 100 == 99 or number + 1 in (len(jobs), first + args.most):
                head["ms"] = round(1000 * spent / (number + 1 - first))
                args.output.write_text(json.dumps({"head": head, "rows": rows}))
                print(number + 1, f"{head['ms']} CPU-ms a query", flush=True)
    evaluate(args.output)


def whole_agreement(match: copy_search.Match, image: ImageFile) -> list[float]:
    """Return the agreement with nothing left out, of a match that has few details."""
    if match.fit is None or not SHIPPED[2] <= match.fit.inliers < SHIPPED[3]:
        return []
    work = ImageFile.open(match.reference.location)
    return [round(copy_search.agreement(image, work, match.fit.matrix) or 0.0, 4)]


def peers_of(paths: list[str], kept: Path) -> dict[str, tuple[int, int, bool, int]]:
    """Hash the works with the peers: pHash, PDQ, whether its quality suffices, imagededup."""
    known = json.loads(kept.read_text()) if kept.exists() else {}
    dedup_of = dedup()
    for path in paths:
        if path not in known or (dedup_of and len(known[path]) < 4):
            data = Path(path).read_bytes()
            known[path] = [phash(data), *pdq_of(data), dedup_of(data) if dedup_of else 0]
    kept.write_text(json.dumps(known))
    return {
        path: (int(known[path][0]), int(known[path][1]), bool(known[path][2]), int(known[path][3]))
        for path in paths
    }


def evaluate(
    path: Path, excluded: frozenset[str] = frozenset(), photos: Path | None = None
) -> None:
    """Print recall and precision of a written run; with the photographs, by number of them."""
    from scipy.stats import beta

    table = json.loads(path.read_text())
    rows = table["rows"]
    copies = [row for row in rows if row["original"]]
    print(table["head"], "copies", len(copies), "strangers", len(rows) - len(copies))

    def taken(
        row: dict[str, Any],
        hash_bits: int,
        near: int,
        near_inl: int,
        inl: int,
        agree: float,
        sure: float,
    ) -> list[str]:
        names = []
        for name, bits, inliers, agrees, *whole in row["found"]:
            alone = bits <= hash_bits or inliers >= inl or (bits <= near and inliers >= near_inl)
            weak = inliers >= near_inl and (whole or [agrees])[0] >= sure
            if (alone and agrees >= agree) or (not alone and weak):
                names.append(name)
        return names

    def say(label: str, pick: Callable[[dict[str, Any]], list[str]], each: bool = False) -> None:
        hits, false, by = 0, [], {}
        for row in rows:
            found = [name for name in pick(row) if name not in excluded]
            hit = row["original"] in found
            hits += hit
            if row["original"]:
                by.setdefault(row["attack"], []).append(hit)
            false += [(row["original"], row["attack"], n) for n in found if n != row["original"]]
        n, k = len(copies), hits
        low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
        high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
        total = hits + len(false)
        floor = beta.ppf(0.025, hits, len(false) + 1) if hits else 0.0
        print(
            f"{label}: recall {k / n:.4f} [{low:.4f}, {high:.4f}], {len(false)} false of {total}, "
            f"precision {hits / max(1, total):.4f} (lower bound {floor:.4f})"
        )
        if each:
            print("  " + ", ".join(f"{a} {np.mean(v):.3f}" for a, v in by.items()))
            for item in false[:24]:
                print("  false:", *item)

    say("without agreement", lambda r: taken(r, *SHIPPED[:4], -1.0, 2.0))
    for agree in (0.5, 0.6, 0.7, 0.8):
        for sure in (0.8, 0.9, 0.95):
            label = f"agreement {agree}, of weak ones {sure}"
            say(label, lambda r, a=agree, s=sure: taken(r, *SHIPPED[:4], a, s))
    say(
        "as shipped",
        lambda r: taken(r, *SHIPPED),
        each=True,
    )
    say("PDQ, 31 bits, quality 50", lambda r: r["pdq"])
    say("imagehash.phash, 10 bits", lambda r: r["phash"])
    if any(row["imagededup"] for row in rows):
        say("imagededup PHash, 10 bits", lambda r: r["imagededup"])
    if photos is None:
        return
    general, kinds = draw(photos)
    rank = {str(item): n for n, item in enumerate([*general[1000:], *kinds])}
    methods = {"as shipped": lambda r: taken(r, *SHIPPED)}
    for name in ("pdq", "phash", "imagededup"):
        methods[name] = lambda r, key=name: r[key]
    for most in (300, 1000, 2000, len(rank)):
        for name, pick in methods.items():
            say(
                f"{most} distractors, {name}",
                lambda r, p=pick, m=most: [item for item in p(r) if rank.get(item, 0) < m],
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--originals", type=int, default=150)
    parser.add_argument("--strangers", type=int, default=300)
    parser.add_argument("--distractors", type=int, default=3_300)
    parser.add_argument("--part", choices=["report", "tune"], default="report")
    parser.add_argument("--most", type=int, default=10**6, help="queries of this run")
    parser.add_argument("--work", help="folder that is kept, to go on with a build")
    parser.add_argument("-o", "--output", type=Path, default=Path("copies.json"))
    parser.add_argument("--evaluate", type=Path, metavar="FILE")
    parser.add_argument("--exclude", nargs="*", default=[], help="references seen by eye to match")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.evaluate:
        evaluate(args.evaluate, frozenset(args.exclude), args.photos)
    elif args.photos:
        run(args)
    else:
        sys.exit("expected a folder of photographs, or --evaluate FILE")


if __name__ == "__main__":
    main()
