"""Who saved a file last: what is said of camera files, and of the same after other programs.

    python benchmarks/saved_by.py FOLDER… [--each 40]

A *camera file* is a JPEG of a megapixel or more whose metadata agree that a camera wrote it: maker,
maker's note, stored size equal to the picture's, time of change equal to that of capture, and no
editor that names itself. None of that looks at order or tables, which is what is judged. Files that
are called saved by a program all the same are printed, to be looked at one by one.

Up to EACH camera files that are called so are then saved again by what is installed here, with
their EXIF where the program keeps it.
"""

import argparse
import collections
import hashlib
import io
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from counterproof import __version__
from counterproof.audit.saved_by import SavedByAnalyzer, named_programs
from counterproof.detectors.measures import wilson
from counterproof.images import ImageFile
from counterproof.settings import Settings

ANSWERS = ("camera", "undetermined", "after_camera", "program", "nothing")
_EDITOR = re.compile(
    r"photo|lightroom|gimp|paint|snapseed|picasa|picnik|vsco|darktable|windows|transfer|quicktime|"
    r"aperture|procamera|google|adobe|libformat|camedia|\bPMB\b",
    re.IGNORECASE,
)
_MAKE, _CHANGED, _TAKEN, _NOTE, _WIDTH, _HEIGHT = 0x010F, 0x0132, 0x9003, 0x927C, 0xA002, 0xA003


def jpegs(folders: list[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield every JPEG below the folders, the same bytes once."""
    seen = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            data = path.read_bytes() if path.is_file() else b""
            if data[:2] == b"\xff\xd8" and (key := hashlib.sha256(data).digest()) not in seen:
                seen.add(key)
                yield path, data


def is_camera_file(image: ImageFile) -> bool:
    """Tell whether the metadata agree that a camera wrote the file."""
    exif = image.exif_directories
    if exif is None or not exif.text("ifd0", _MAKE) or "exif" not in exif.directories:
        return False
    width, height = image.metadata.width, image.metadata.height
    stored = (exif.integer("exif", _WIDTH) or 0, exif.integer("exif", _HEIGHT) or 0)
    taken = exif.text("exif", _TAKEN)
    return (
        _NOTE in exif.directories["exif"].entries
        and sorted(stored) == sorted((width, height))
        and width * height >= 1_000_000
        and bool(taken)
        and taken == exif.text("ifd0", _CHANGED)
        and not any(_EDITOR.search(name) for name in named_programs(image))
    )


def answer(analyzer: SavedByAnalyzer, data: bytes) -> tuple[str, str]:
    """Return what is said of a file, and of which program."""
    for found in analyzer.analyze(ImageFile.open(data)):
        return found.code.rpartition(".")[2], str(found.details.get("saver", ""))
    return "nothing", ""


def _pillow(**options: int) -> Callable[[bytes], bytes]:
    def save(data: bytes) -> bytes:
        out = io.BytesIO()
        with Image.open(io.BytesIO(data)) as opened:
            opened.save(out, "JPEG", exif=opened.info.get("exif", b""), **options)
        return out.getvalue()

    return save


def _opencv(data: bytes) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def _simplejpeg(data: bytes) -> bytes:
    return bytes(simplejpeg.encode_jpeg(simplejpeg.decode_jpeg(data), quality=85))


def _command(*words: str) -> Callable[[bytes], bytes]:
    def save(data: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.jpg"), Path(folder, "out.jpg")
            source.write_bytes(data)
            places = {"IN": str(source), "OUT": str(target), "png:OUT": f"png:{target}"}
            subprocess.run(
                [places.get(word, word) for word in words], check=True, capture_output=True
            )
            return target.read_bytes()

    return save


def programs() -> dict[str, Callable[[bytes], bytes]]:
    """Return what is installed here and saves a JPEG again."""
    found: dict[str, Callable[[bytes], bytes]] = {
        "Pillow, quality 75": _pillow(quality=75),
        "Pillow, quality 95, 4:4:4": _pillow(quality=95, subsampling=0),
        "Pillow, optimised, progressive": _pillow(quality=85, optimize=True, progressive=True),
        "OpenCV (drops EXIF)": _opencv,
        "simplejpeg (drops EXIF)": _simplejpeg,
    }
    commands = {
        "ImageMagick": ("/usr/bin/convert", "IN", "-quality", "80", "OUT"),
        "ImageMagick, quality of the file": ("/usr/bin/convert", "IN", "-resize", "99%", "OUT"),
        "GraphicsMagick": ("gm", "convert", "IN", "OUT"),
        "FFmpeg (drops EXIF)": ("ffmpeg", "-loglevel", "error", "-i", "IN", "-q:v", "3", "OUT"),
        "jpegtran, turned without coding": (
            *("jpegtran", "-copy", "all", "-rotate", "90", "-trim", "-outfile", "OUT", "IN"),
        ),
        "exiftool, a tag changed": ("exiftool", "-q", "-m", "-Artist=x", "-o", "OUT", "IN"),
    }
    for name, words in commands.items():
        if shutil.which(words[0]):
            found[name] = _command(*words)
    return found


def png_programs() -> dict[str, Callable[[bytes], bytes]]:
    """Return what is installed here and saves a picture as PNG, at half its sides."""

    def pillow(data: bytes) -> bytes:
        out = io.BytesIO()
        with Image.open(io.BytesIO(data)) as opened:
            opened.reduce(2).save(out, "PNG")
        return out.getvalue()

    def opencv(data: bytes) -> bytes:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)
        return cv2.imencode(".png", pixels)[1].tobytes()

    found: dict[str, Callable[[bytes], bytes]] = {"Pillow": pillow, "OpenCV": opencv}
    for name, words in {
        "ImageMagick": ("/usr/bin/convert", "IN", "-resize", "50%", "png:OUT"),
        "GraphicsMagick": ("gm", "convert", "IN", "-resize", "50%", "png:OUT"),
        "FFmpeg": (*("ffmpeg", "-loglevel", "error", "-i", "IN"), *("-f", "apng", "OUT")),
    }.items():
        if shutil.which(words[0]):
            found[name] = _command(*words)
    return found


def row(name: str, said: collections.Counter[str]) -> str:
    """Format one row: each answer, and the share called saved by a program with its interval."""
    count = sum(said.values())
    share = wilson(said["after_camera"] + said["program"], count)
    told = f"{100 * share.value:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"
    return f"| {name} | {count} | " + " | ".join(str(said[a]) for a in ANSWERS) + f" | {told} |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--each", type=int, default=40)
    options = parser.parse_args()
    analyzer = SavedByAnalyzer(Settings(home=Path("/nonexistent")))
    cameras: collections.Counter[str] = collections.Counter()
    makers: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    kept: dict[str, list[bytes]] = collections.defaultdict(list)
    flagged = []
    for path, data in jpegs(options.folders):
        image = ImageFile.open(data)
        if not is_camera_file(image):
            continue
        said, program = answer(analyzer, data)
        exif = image.exif_directories
        make = exif.text("ifd0", _MAKE).split()[0].upper() if exif else ""
        cameras[said] += 1
        makers[make][said] += 1
        if said in ("after_camera", "program"):
            flagged.append(f"{path.parent.name}/{path.name}: {make}, {program}")
        elif said == "camera":
            kept[make].append(data)
    print(f"counterproof {__version__}\n")
    print(f"| set | n | {' | '.join(ANSWERS)} | saved by a program, 95 % |")
    print("|---|--:|" + "--:|" * len(ANSWERS) + "---|")
    print(row("camera files", cameras))
    for make, said in sorted(makers.items()):
        print(row(make, said))
    turn = [
        kept[make][at]
        for at in range(options.each)
        for make in sorted(kept)
        if len(kept[make]) > at
    ]
    for name, save in programs().items():
        counts: collections.Counter[str] = collections.Counter()
        for data in turn[: options.each]:
            try:
                counts[answer(analyzer, save(data))[0]] += 1
            except subprocess.CalledProcessError as err:
                print(f"{name} refuses a file: {err.stderr.decode().split(' - ')[0]}")
        print(row(name, counts), flush=True)
    print("\n| saved as PNG by | n | called |\n|---|--:|---|")
    for name, save in png_programs().items():
        named = collections.Counter(
            answer(analyzer, save(data))[1] for data in turn[: options.each]
        )
        told = ", ".join(f"{word or 'nothing'} {n}" for word, n in named.most_common())
        print(f"| {name} | {sum(named.values())} | {told} |", flush=True)
    print("\ncamera files called saved by a program:")
    print("\n".join(flagged) or "none")


if __name__ == "__main__":
    main()
