"""What the quick profile costs: beside imagehash and a bare scaled decode, in one run.

    python benchmarks/scan.py FOLDER              speed, and cost by stage
    python benchmarks/scan.py --memory COUNT      resident memory over COUNT small files,
                                                  [--profile quick] [--side 96]

Speed: process CPU time, one thread, this process; the pictures of FOLDER that are JPEGs of
at least 2 megapixels (copies with other last bytes make up --count, so that no two are the
same file), read from the page cache, a cold case. Each round times every contender on the
same pictures, interleaved; the table gives the best of the rounds and the ratios.
"""

import argparse
import io
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, metavar="COUNT")
    parser.add_argument("--profile", default="standard", help="of the scan with --memory")
    parser.add_argument("--side", type=int, default=96, help="of its pictures, in pixels")
    options = parser.parse_args()
    print(_machine())
    if options.memory:
        memory(options.memory, options.profile, options.side)
    elif options.folder:
        speed(options.folder, options.count, options.rounds)
    else:
        parser.error("expected a FOLDER of JPEGs, or --memory COUNT")


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    day = time.strftime("%Y-%m-%d")
    return f"{day}, {cpu}, Python {platform.python_version()}, commit {commit or 'unknown'}"


def large_jpegs(folder: Path) -> list[Path]:
    """Return the JPEGs of at least 2 megapixels."""
    from counterproof.errors import ImageError
    from counterproof.images import ImageFile

    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg"):
            try:
                image = ImageFile.open(path)
            except ImageError:
                continue
            if image.metadata.width * image.metadata.height >= 2_000_000:
                found.append(path)
    return found


def distinct_copies(sources: list[Path], count: int, folder: Path) -> list[Path]:
    """Copy pictures until there are `count`, each with a comment of its own."""
    copies = []
    for number in range(count):
        data = sources[number % len(sources)].read_bytes()
        text = f"{number:08}".encode()
        comment = b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
        path = folder / f"{number:05}.jpg"
        path.write_bytes(data[:2] + comment + data[2:])
        copies.append(path)
    return copies


def speed(folder: Path, count: int, rounds: int) -> None:
    """Compare the quick profile with its peers, and say what each stage costs."""
    import cv2
    import imagehash
    import simplejpeg
    from PIL import Image

    from counterproof.analysis import Stage
    from counterproof.audit.case import Case, Source
    from counterproof.audit.examine import ScanSpec, examine
    from counterproof.images import ImageFile
    from counterproof.settings import Settings

    cv2.setNumThreads(1)
    sources = large_jpegs(folder)
    if not sources:
        raise SystemExit(f"{folder}: no JPEG of at least 2 megapixels")
    with tempfile.TemporaryDirectory() as text:
        base = Path(text)
        paths = distinct_copies(sources, count, base)
        plan = ScanSpec(Settings(home=base), Stage.QUICK).prepare()

        def quick(path: Path) -> None:
            """Everything that a scan does for one picture, the case included."""
            found = examine(ImageFile.open(path), plan)
            case.put_record(found.record, found.sidecar, "f")
            for blob in found.blobs:
                case.put_blob(found.record.sha256, blob)
            info = path.stat()
            source = Source(str(path), info.st_size, info.st_mtime_ns, sha256=found.record.sha256)
            case.put_source(source, "f", 0)

        def phash(path: Path) -> None:
            imagehash.phash(Image.open(path))

        def scaled(path: Path) -> None:
            data = path.read_bytes()
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            simplejpeg.decode_jpeg(
                data, "RGB", fastdct=True, fastupsample=True,
                min_height=max(1, height // 8), min_width=max(1, width // 8),
            )  # fmt: skip

        contenders = {"quick profile": quick, "imagehash.phash": phash, "scaled decode": scaled}
        best: dict[str, float] = {}
        for number in range(rounds):
            with Case.open(base / f"{number}.case", create=True) as case:
                case.begin_scan(plan.run)
                for name, run in contenders.items():
                    cost = _cpu(run, paths)
                    best[name] = min(best.get(name, cost), cost)
        megapixels = sum(
            image.metadata.width * image.metadata.height / 1e6
            for image in map(ImageFile.open, sources)
        ) / len(sources)
        print(f"{len(paths)} JPEGs from {len(sources)} sources, mean {megapixels:.1f} MP\n")
        for name, cost in best.items():
            print(f"{name:18} {cost * 1e3:8.2f} ms  {1 / cost:8.1f} images/s")
        ours = best["quick profile"]
        print(f"\nquick / imagehash.phash   {best['imagehash.phash'] / ours:5.2f} ×")
        print(f"quick / scaled decode     {best['scaled decode'] / ours:5.2f} ×\n")
        _stages(paths, rounds)


def _cpu(run: Callable[[Path], None], paths: list[Path]) -> float:
    start = time.process_time()
    for path in paths:
        run(path)
    return (time.process_time() - start) / len(paths)


def _stages(paths: list[Path], rounds: int) -> None:
    """Print the CPU time of each stage, in the order in which a picture walks them."""
    import json

    from counterproof.analysis import Stage
    from counterproof.audit.examine import Progress, ScanSpec, finish
    from counterproof.images import ImageFile
    from counterproof.settings import Settings

    plan = ScanSpec(Settings(home=Path("unused")), Stage.QUICK).prepare()
    best: dict[str, float] = {}
    for _ in range(rounds):
        spent: dict[str, float] = defaultdict(float)

        @contextmanager
        def stage(name: str, into: dict[str, float] = spent) -> Iterator[None]:
            start = time.process_time()
            yield
            into[name] += time.process_time() - start

        for path in paths:
            with stage("read"):
                image = ImageFile.open(path)
            with stage("sha256"):
                _ = image.sha256
            with stage("walk the container"):
                _ = image.metadata
            with stage("describe the file"):
                _ = image.info
            with stage("scaled decode"):
                image.luminance(128)
            progress = Progress(sha256=image.sha256, info=image.info)
            for analyzer in plan.analyzers:
                with stage(f"analyzer {analyzer.name}"):
                    progress.observations += list(analyzer.analyze(image))
            with stage("verdict and record"):
                json.dumps(finish(progress, plan).record.to_json())
        for name, cost in spent.items():
            best[name] = min(best.get(name, cost), cost)
    print("cost by stage, CPU ms a picture")
    for name, cost in best.items():
        print(f"  {name:22} {cost / len(paths) * 1e3:7.3f}")


def memory(count: int, profile: str, side: int) -> None:
    """Scan `count` small distinct files with two workers; sample the memory of all processes.

    Args:
        count: how many files.
        profile: of the scan.
        side: long side of the pictures in pixels.
    """
    import numpy as np
    from PIL import Image

    with tempfile.TemporaryDirectory() as text:
        base = Path(text)
        rng = np.random.default_rng(0)
        for number in range(count):
            folder = base / "in" / f"{number // 1000:04}"
            folder.mkdir(parents=True, exist_ok=True)
            coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            size = side, side * 3 // 4
            picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=80)
            (folder / f"{number:07}.jpg").write_bytes(buffer.getvalue())
        print(f"{count:,} files made")
        command = [
            *(sys.executable, "-m", "counterproof", "scan", str(base / "in"), "-j", "2"),
            *(
                "--profile",
                profile,
                "--format",
                "text",
                "-o",
                str(base / "out.html"),
                "--case",
                str(base / "m.case"),
            ),
        ]
        start = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            samples: list[tuple[float, float]] = []
            while process.poll() is None:
                samples.append((time.monotonic() - start, _resident_mib(process.pid)))
                time.sleep(1)
        shutil.rmtree(base / "in")
        usage = [mib for _, mib in samples]
        tenth = max(usage[: max(1, len(usage) // 10)])
        page = (base / "out.html").stat().st_size / 1e6
        case = (base / "m.case").stat().st_size / 1e6
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = (seconds.ru_utime + seconds.ru_stime) / count * 1e3
        print(f"exit code {process.returncode}, {samples[-1][0]:.0f} s, CPU {cpu:.1f} ms a picture")
        print(
            f"resident memory of all processes: first tenth {tenth:.0f} MiB, most {max(usage):.0f}"
        )
        print(
            "over time, MiB: "
            + " ".join(f"{mib:.0f}" for mib in usage[:: max(1, len(usage) // 12)])
        )
        print(f"HTML {page:.1f} MB, case {case:.1f} MB")


def _resident_mib(pid: int) -> float:
    """Return the proportional resident memory (PSS) of a process and its children, in MiB."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            children[int(fields[1])].append(int(folder.name))
        except OSError:
            continue
    total, waiting = 0.0, [pid]
    while waiting:
        each = waiting.pop()
        waiting += children[each]
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        pss = next((line for line in text.splitlines() if line.startswith("Pss:")), "Pss: 0")
        total += int(pss.split()[1]) / 1024
    return total


if __name__ == "__main__":
    main()
