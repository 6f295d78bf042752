"""What the credentials pre-filter saves: process CPU time, one thread.

Two questions. How much cheaper is the pre-filter than the C2PA library's reader on a file
without a credential? How much faster is a folder of which 5 % carry one, read as a scan reads
it, than with that reader on every file? The pre-filter looks at metadata blocks that a scan
has listed anyway; its cost is given alone and together with that listing. Loading the library
and the trust lists is left out of both sides.

    python benchmarks/credentials.py PHOTOS CREDENTIALS

PHOTOS is a folder of pictures without credentials, taken as they are and, as JPEG, enlarged to
the size of a camera's (12 MP); every twentieth of the latter is signed with a key made for the
run. CREDENTIALS is a folder of carriers, to count what the pre-filter misses.
"""

import argparse
import datetime as dt
import importlib.metadata
import io
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from ssl import DER_cert_to_PEM_cert
from typing import Any

import numpy as np
from PIL import Image

from counterproof.containers import walk
from counterproof.images import ImageFile
from counterproof.provenance.certificates import SIGNER_USAGES
from counterproof.provenance.credentials_scan import CredentialsAnalyzer
from counterproof.provenance.manifest_store import carries_credential, library_context
from counterproof.provenance.trust import TrustStore
from counterproof.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.provenance.conftest import Authority, Signing

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"}
SUFFIXES |= {".svg", ".dng"}
ROUNDS = 5
REPEAT = 20
CARRIERS_OF_100 = 5
CAMERA_SIZE = (4000, 3000)
CAMERA_PICTURES = 20


def pictures(folder: Path) -> list[bytes]:
    """Read every picture of a folder; none twice."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            found[path.read_bytes()] = None
    return list(found)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the least CPU time of several rounds, in seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def reader_reads(data: bytes, mime: str, context: Any) -> bool:
    """Ask the library for a picture's credential; tell whether there is one."""
    import c2pa

    try:
        reader = c2pa.Reader.try_create(mime, io.BytesIO(data), None, context)
        if reader is None:
            return False
        with reader:
            reader.json()
    except c2pa.C2paError as err:
        return "could not be parsed" not in str(err)
    return True


def one_file(files: Sequence[tuple[bytes, str]], context: Any) -> tuple[list[float], ...]:
    """Return milliseconds per file: walk with pre-filter, pre-filter alone, reader."""
    walked, filtered, asked = [], [], []
    for data, mime in files:
        image = ImageFile.open(data)
        _ = image.metadata

        def filter_only(image: ImageFile = image) -> None:
            for _ in range(REPEAT):
                carries_credential(image)

        def walk_and_filter(data: bytes = data) -> None:
            for _ in range(REPEAT):
                carries_credential(ImageFile.open(data))

        walked.append(cpu_seconds(walk_and_filter) / REPEAT * 1e3)
        filtered.append(cpu_seconds(filter_only) / REPEAT * 1e3)
        asked.append(cpu_seconds(lambda d=data, m=mime: reader_reads(d, m, context)) * 1e3)
    return walked, filtered, asked


def with_lists(trust: TrustStore) -> Any:
    """Make a reader's settings that know our lists, as one needs them to name a signer."""
    import c2pa

    anchors = [
        {
            "trust_kind": "manifest" if item.kind == "signer" else "tsa",
            "trust_uri": f"urn:list:{item.name}",
            "trust_anchors": "".join(map(DER_cert_to_PEM_cert, item.roots)),
            **(
                {"allowed_list": "".join(map(DER_cert_to_PEM_cert, item.allowed))}
                if item.allowed
                else {}
            ),
        }
        for item in trust.lists
    ]
    return c2pa.Context.from_dict(
        {
            "version": 1,
            "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
            "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
            "trust": {"trust_config": "\n".join(sorted(SIGNER_USAGES)), "anchors": anchors},
        }
    )


def folder(
    files: Sequence[tuple[bytes, str]], analyzer: CredentialsAnalyzer, plain: Any, listed: Any
) -> list[tuple[str, list[float], float]]:
    """Read a folder in several ways, in turn, in each of several rounds.

    The last row shows how much the pre-filter could save at most: there the library alone,
    which knows no lists, reads the carriers, and nothing else does.

    Returns:
        Name, how many times as fast as the reader with lists in each round, and the median
        of the CPU seconds.
    """

    def scan(data: bytes, _: str) -> None:
        for _item in analyzer.analyze(ImageFile.open(data)):
            pass

    def behind_filter(data: bytes, mime: str) -> None:
        if carries_credential(ImageFile.open(data)):
            reader_reads(data, mime, plain)

    ways: dict[str, Callable[[bytes, str], object]] = {
        "reader with trust lists, every file": lambda d, m: reader_reads(d, m, listed),
        "reader without lists, every file": lambda d, m: reader_reads(d, m, plain),
        "as a scan reads it": scan,
        "reader without lists behind the pre-filter": behind_filter,
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            start = time.process_time()
            for data, mime in files:
                way(data, mime)
            if number:  # the first round warms caches and the allocator
                spent[name].append(time.process_time() - start)
    base = next(iter(spent.values()))
    return [
        (name, [b / own for b, own in zip(base, times, strict=True)], statistics.median(times))
        for name, times in spent.items()
    ]


def missed(carriers: Sequence[bytes], context: Any) -> tuple[int, int]:
    """Return how many files the library reads or refuses a credential in, and the missed."""
    known = lost = 0
    for data in carriers:
        image = ImageFile.open(data)
        if reader_reads(data, image.metadata.mime, context):
            known += 1
            lost += not carries_credential(image)
    return known, lost


def enlarged(data: bytes) -> bytes:
    """Return a picture as a camera would write it: 12 MP, some noise, about 4 MiB of JPEG."""
    picture = Image.open(io.BytesIO(data)).convert("RGB").resize(CAMERA_SIZE, Image.BICUBIC)
    noise = np.random.default_rng(len(data)).normal(0, 6, (*CAMERA_SIZE[::-1], 1))
    noisy = (np.asarray(picture) + noise).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(noisy).save(out, "JPEG", quality=92)
    return out.getvalue()


def say(title: str, files: Sequence[tuple[bytes, str]], context: Any) -> None:
    """Measure and print what a file without a credential costs."""
    walked, filtered, asked = one_file(files, context)
    size = statistics.median(len(data) for data, _ in files) / 2**20
    print(f"\n{title}: n {len(files)}, median {size:.2f} MiB")
    print("CPU ms per file          median     mean  reader costs")
    for name, row in (
        ("listing and pre-filter", walked),
        ("pre-filter alone", filtered),
        ("C2PA reader", asked),
    ):
        times = sum(asked) / sum(row)
        print(
            f"{name:22s} {statistics.median(row):8.4f} {statistics.mean(row):8.4f}  {times:6.0f}×"
        )


def main() -> None:
    """Measure and print small tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("credentials", type=Path)
    parser.add_argument("-n", type=int, default=400, help="pictures in the mixed folder")
    options = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None

    analyzer = CredentialsAnalyzer(Settings(home=Path("none"), as_of=dt.date(2026, 11, 23)))
    context = library_context()
    _ = analyzer.trust
    plain, large = [], []
    for data in pictures(options.photos):
        found = walk(data)
        if carries_credential(ImageFile.open(data)):
            continue
        plain.append((data, found.mime))
        if found.format == "jpeg" and len(large) < CAMERA_PICTURES:
            large.append((enlarged(data), "image/jpeg"))

    print(f"date {dt.date.today()}  cpu {_cpu()}  python {platform.python_version()}")
    names = ("c2pa-python", "cryptography", "pillow")
    print("  ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    say("files as they are", plain, context)
    say("JPEG of 12 MP", large, context)

    authority, signing = Authority("Benchmark"), Signing(Path("none"))
    count = max(1, options.n * CARRIERS_OF_100 // 100)
    signed = [(signing.sign(authority, data)[0], mime) for data, mime in large[:count]]
    made = [
        (data, walk(data).mime)
        for data in pictures(options.credentials)
        if ImageFile.open(data).blocks("c2pa")
    ]
    listed = with_lists(analyzer.trust)
    print(f"\nfolder of {options.n} JPEG of 12 MP, of which {count} replaced by a carrier")
    print("times as fast as the reader with trust lists on every file: median of the rounds, range")
    for title, carriers in (("signed pictures of 12 MP", signed), ("CREDENTIALS", made)):
        rng = random.Random(0)
        chosen = rng.choices(carriers, k=count) + rng.choices(large, k=options.n - count)
        rng.shuffle(chosen)
        print(f"carriers: {title}")
        for name, ratios, seconds in folder(chosen, analyzer, context, listed):
            low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
            print(f"  {name:44s} {middle:5.1f} ({low:.1f} to {high:.1f})   {seconds:.3f} s")

    known, lost = missed(pictures(options.credentials), context)
    print(f"\ncarriers missed by the pre-filter: {lost} of {known}")


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


if __name__ == "__main__":
    main()
