"""The stored pictures and sound of a film or a sound file, apart from all that describes them.

Two files with the same stream show and play the same, whatever was done to their metadata; where
streams differ, something was coded anew, cut or changed. What they show is not decoded.

Sources: as in `media`; ID3v1 (the last 128 bytes of an MP3, from `TAG` on).
"""

import hashlib
import struct
from collections.abc import Iterator

from counterproof.blocks import Damaged, Notes
from counterproof.bmff import boxes
from counterproof.media import flac_start, id3_end

__all__ = ["stream_sha256"]


def stream_sha256(data: bytes, format: str) -> str:
    """Hash the stored stream.

    Args:
        data: the whole file.
        format: as `containers` names it.

    Returns:
        64 hexadecimal digits; empty for a format without a stream that is told apart, for a file
        that holds none, and for one that is damaged.
    """
    parts = _PARTS.get(format)
    found, any_bytes = hashlib.sha256(), False
    try:
        for start, stop in parts(data) if parts else ():
            found.update(memoryview(data)[start:stop])
            any_bytes = any_bytes or stop > start
    except (Damaged, struct.error, IndexError):
        return ""
    return found.hexdigest() if any_bytes else ""


def _boxes(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the media data of MP4, MOV, M4A, in pieces or whole."""
    for name, _, body, stop in boxes(Notes(data, 0), 0, len(data)):
        if name == b"mdat":
            yield body, stop


def _chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield a WAV's samples, or an AVI's list of frames."""
    notes, at = Notes(data, 0), 12
    while at + 8 <= len(data):
        notes.step()
        name, length = struct.unpack_from("<4sI", data, at)
        body, stop = at + 8, at + 8 + length
        if stop > len(data):
            raise notes.cut("a chunk reaches past the end")
        if name == b"data" or (name == b"LIST" and data[body : body + 4] == b"movi"):
            yield body, stop
        elif name == b"RIFF":  # AVI goes on in further ones
            stop = body + 4
        at = stop + (stop & 1)


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield an MP3 between its tags."""
    yield id3_end(data), len(data) - (128 if data[-128:-125] == b"TAG" else 0)


def _flac(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield a FLAC's frames, behind its metadata blocks."""
    notes, at, last = Notes(data, 0), flac_start(data) + 4, False
    while not last:
        notes.step()
        last = bool(data[at] & 0x80)
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    yield at, len(data)


_PARTS = {
    "mp4": _boxes,
    "mov": _boxes,
    "m4a": _boxes,
    "wav": _chunks,
    "avi": _chunks,
    "mp3": _frames,
    "flac": _flac,
}
