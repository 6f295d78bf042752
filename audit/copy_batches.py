"""Search many pictures in an index: one by one, or where the index is large, in batches.

Of a large index the features are not held in memory. Pictures that are searched together read
them once.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from counterproof.audit.copy_search import Match, Query, Searcher, read_query
from counterproof.errors import ImageError
from counterproof.images import ImageFile

__all__ = ["search_all"]

_WORKS = 6_000  # for which one more picture is searched at once; of twice as many features are held
_MOST = 128
_MOST_BYTES = 1 << 28  # of the files of a batch, which stay in memory

Key = TypeVar("Key")
Opened = tuple[Key, ImageFile | ImageError]
Searched = tuple[Key, ImageFile | ImageError, list[Match]]


def search_all(
    searcher: Searcher,
    pictures: Iterable[Opened[Key]],
    excluding: Callable[[Key], str] = lambda _key: "",
) -> Iterator[Searched[Key]]:
    """Search pictures; yield them in their order, with what was found.

    Args:
        searcher: of the index.
        pictures: each with a name for it, and opened, or why it could not be.
        excluding: returns the path that a picture is not compared with, as `Searcher.search`.

    Yields:
        The name, the picture or why it could not be read, and its matches.
    """
    size = min(_MOST, max(1, len(searcher.index) // _WORKS))
    batch: list[tuple[Key, ImageFile | ImageError, Query | None]] = []
    held = 0
    for key, image in pictures:
        if isinstance(image, ImageError):
            batch.append((key, image, None))
        else:
            try:
                batch.append((key, image, read_query(image)))
                held += len(image.data)
            except ImageError as err:
                batch.append((key, err, None))
            if size > 1:
                image.release()
        if len(batch) >= size or held > _MOST_BYTES:
            yield from _search(searcher, batch, excluding)
            batch, held = [], 0
    yield from _search(searcher, batch, excluding)


def _search(
    searcher: Searcher,
    batch: list[tuple[Key, ImageFile | ImageError, Query | None]],
    excluding: Callable[[Key], str],
) -> Iterator[Searched[Key]]:
    votes = iter(searcher.votes([query for _, _, query in batch if query]))
    for key, image, query in batch:
        if query is None or isinstance(image, ImageError):
            yield key, image, []
            continue
        voted = next(votes)
        try:
            found = searcher.search(query, image, excluding=excluding(key), votes=voted)
        except ImageError as err:
            yield key, err, []
            continue
        yield key, image, found
        image.release()
