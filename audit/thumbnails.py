"""Small views of pictures for a report, made in a worker process with a time limit.

They are kept in the case, so that a later report works when the files have moved.
"""

import io
import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, replace

from counterproof.errors import ImageError
from counterproof.findings import Blob
from counterproof.images import ImageFile
from counterproof.settings import Limits

__all__ = ["ERROR_LEVELS", "LARGE", "SMALL", "Size", "View", "encode", "make"]

_TIMEOUT_S = 15.0
_MAX_PIXELS = 100_000_000  # a thumbnail is not worth a gigabyte of memory


@dataclass(frozen=True, slots=True)
class Size:
    """A kind of view: its name in the case, its longest side in pixels, its WebP quality.

    With `error_levels` it shows what coding once more changes, in place of the picture.
    """

    name: str
    side: int
    quality: int
    error_levels: bool = False


SMALL = Size("thumbnail.webp", 256, 55)
LARGE = Size("view.webp", 960, 62)
ERROR_LEVELS = Size("error-levels.webp", 960, 80, error_levels=True)


@dataclass(frozen=True, slots=True)
class View:
    """What became of one picture.

    Attributes:
        sha256: of the file it was wanted of.
        blob: the view, or None.
        problem: why there is none: `gone`, `changed`, `unreadable`, `unexamined` (it
            is no picture); empty if there is one.
    """

    sha256: str
    blob: Blob | None
    problem: str = ""


def make(wanted: Iterable[tuple[str, str]], size: Size, limits: Limits) -> Iterator[View]:
    """Make views of files, in order.

    Args:
        wanted: (sha256, path as the system names it). A file whose content has changed since
            gives none: it would be another picture's view.
        size: which view.
        limits: what one picture may cost.
    """
    from pebble import ProcessExpired, ProcessPool

    files = list(wanted)
    if not files:
        return
    limits = replace(limits, max_pixels=min(limits.max_pixels, _MAX_PIXELS))
    pool = ProcessPool(max_workers=min(2, len(files)), context=multiprocessing.get_context("spawn"))
    try:
        futures: list[tuple[str, Future[View]]] = [
            (sha256, pool.schedule(_make, args=[sha256, path, size, limits], timeout=_TIMEOUT_S))
            for sha256, path in files
        ]
        for sha256, future in futures:
            try:
                yield future.result()
            except (ProcessExpired, LateError):  # a hostile file took its worker with it
                yield View(sha256, None, "unreadable")
        pool.close()  # type: ignore[no-untyped-call]
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def _make(sha256: str, path: str, size: Size, limits: Limits) -> View:
    try:
        image = ImageFile.open(path, limits=limits)
    except ImageError:
        return View(sha256, None, "gone")
    if image.sha256 != sha256:
        return View(sha256, None, "changed")
    try:
        return View(sha256, encode(image, size))
    except ImageError as err:
        problem = "unexamined" if err.cause == "not_examined" else "unreadable"
        return View(sha256, None, problem)
    except Exception:  # whatever a reader raises on a hostile file, there is no view of it
        return View(sha256, None, "unreadable")


def encode(image: ImageFile, size: Size) -> Blob:
    """Decode small and write WebP, without any metadata of the file.

    Raises:
        ImageError: if the picture cannot be decoded within its limits.
    """
    from PIL import Image

    if size.error_levels:
        from counterproof.audit.error_levels import error_levels

        picture = Image.fromarray(error_levels(image.pixels(), size.side))
    else:
        picture = Image.fromarray(image.pixels(max_side=size.side))
    picture.thumbnail((size.side, size.side))
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=size.quality, method=4)
    return Blob(size.name, "image/webp", out.getvalue())
