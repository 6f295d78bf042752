"""Training pictures: a folder or zip of images, one class per folder, read once and cut square.

Names of the shape `split__class__id.jpg` carry their class themselves. Every fifth picture, by a
hash of its name, is held out: never trained on, what distances are measured against.
"""

import functools
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from counterproof.errors import ImageError, UserError
from counterproof.images import ImageFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pictures", "load_pictures", "square"]

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
HELD_OUT = 5  # one picture in so many
MAX_ENTRY_BYTES = 64 * 2**20
NO_CLASS = "all"


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """A data set in memory.

    Attributes:
        pixels: `uint8` RGB, `(N, size, size, 3)`.
        labels: class of each picture, `(N,)`, from 0.
        held: which are held out, `(N,)`, bool.
        classes: names, sorted; one, if the data names none.
        digest: SHA-256 over names and pixels, hex.
        skipped: messages, one for each picture that could not be read.
    """

    pixels: "NDArray[Any]"
    labels: "NDArray[Any]"
    held: "NDArray[Any]"
    classes: tuple[str, ...]
    digest: str
    skipped: tuple[str, ...] = ()

    def train(self) -> "tuple[NDArray[Any], NDArray[Any]]":
        """Return pixels and labels of the pictures to train on."""
        return self.pixels[~self.held], self.labels[~self.held]

    def held_out(self) -> "tuple[NDArray[Any], NDArray[Any]]":
        """Return pixels and labels of the others."""
        return self.pixels[self.held], self.labels[self.held]


def load_pictures(source: str | Path, size: int, labels: bool = True) -> Pictures:
    """Read all pictures of a folder or zip, cut square at the centre and scaled to `size`.

    Classes are the folders; without any, the middle part of `split__class__id` names.

    Args:
        source: folder or `.zip`.
        size: side in pixels.
        labels: whether classes are wanted; without, all pictures are of one.

    Raises:
        UserError: if there is no such folder, fewer than 10 readable pictures in it, or some of
            them lie in class folders and others beside them.
    """
    import numpy as np

    pixels, names, groups, skipped = [], [], [], []
    total = hashlib.sha256()
    for name, read in _files(Path(source)):
        try:
            picture = square(ImageFile.open(_read(name, read), name=name), size)
        except ImageError as err:
            skipped.append(str(err))
            continue
        total.update(name.encode() + b"\0" + picture.tobytes())
        pixels.append(picture)
        names.append(_identity(name))
        groups.append(_class_of(name) if labels else NO_CLASS)
    if len(pixels) < 10:
        raise UserError(
            f"{source}: expected at least 10 readable pictures to train on, found {len(pixels)}"
            + (f"; first of {len(skipped)} unreadable: {skipped[0]}" if skipped else "")
        )
    classes = tuple(sorted(set(groups)))
    if NO_CLASS in classes and len(classes) > 1:
        raise UserError(
            f"{source}: {groups.count(NO_CLASS)} of {len(groups)} pictures name no class; put each "
            "into the folder of its class, or train with --no-labels"
        )
    held = np.array([_held_out(name) for name in names])
    if held.all() or not held.any():  # a tiny set may fall on one side: hold out every fifth
        held = np.arange(len(names)) % HELD_OUT == 0
    numbers = np.array([classes.index(group) for group in groups], np.int64)
    return Pictures(np.stack(pixels), numbers, held, classes, total.hexdigest(), tuple(skipped))


def _files(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield names and how to read each, sorted by name, so that no order of the disk matters."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path.relative_to(source).as_posix(), path.read_bytes
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as packed:
            for entry in sorted(packed.infolist(), key=lambda item: item.filename):
                wanted = PurePosixPath(entry.filename).suffix.lower() in SUFFIXES
                if wanted and not entry.is_dir() and entry.file_size <= MAX_ENTRY_BYTES:
                    yield entry.filename, functools.partial(packed.read, entry)
    else:
        raise UserError(f"{source}: expected a folder or a zip of pictures")


def _read(name: str, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OSError as err:
        raise ImageError("forbidden", f"{name}: cannot be read: {err.strerror or err}") from err
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as err:  # torn, or encrypted
        raise ImageError("damaged", f"{name}: cannot be unpacked: {err}") from err


def square(image: ImageFile, size: int) -> "NDArray[Any]":
    """Return a picture cut square at its centre and scaled: `uint8` RGB, `(size, size, 3)`."""
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(image.pixels())
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    picture = picture.crop((left, top, left + side, top + side))
    if side != size:
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture.convert("RGB"))


def _class_of(name: str) -> str:
    path = PurePosixPath(name)
    if len(path.parts) > 1:
        return path.parts[-2]
    parts = path.name.split("__")
    return parts[1] if len(parts) == 3 else NO_CLASS


def _identity(name: str) -> str:
    """What the hash is taken of: of `split__class__id.jpg` names the id, else the file's name."""
    return PurePosixPath(name).name.split("__")[-1]


def _held_out(identity: str) -> bool:
    return int(hashlib.sha256(identity.encode()).hexdigest(), 16) % HELD_OUT == 0
