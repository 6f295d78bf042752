"""Walk the containers of video and sound (MP4, MOV, M4A, AVI, WAV, MP3, FLAC) for metadata.

Only what describes the file is read: credentials, XMP, and texts with their keys. The streams of
pictures and sound are passed over.

Sources: ISO/IEC 14496-12 (boxes, `tkhd` §8.3.2); QuickTime File Format, "User Data Atoms" and
"Metadata" (`keys`, `ilst`, `data`); RIFF (IBM and Microsoft, 1991) chapter 2; ID3v2.2, v2.3 and
v2.4 (id3.org); FLAC RFC 9639 §8 (metadata blocks); C2PA 2.4 appendix A (where each format keeps a
manifest store).
"""

import contextlib
import struct
from collections.abc import Iterator

from counterproof.blocks import Notes
from counterproof.bmff import C2PA_UUID, XMP_UUID, boxes

__all__ = [
    "flac_start",
    "id3_end",
    "is_mpeg_audio",
    "walk_flac",
    "walk_mp3",
    "walk_mp4",
    "walk_riff",
]

_UTF8, _IMPLICIT = 1, 0
_FREEFORM = b"----"
_TEXT_CHUNK = 4 * 2**20
# What iTunes and RIFF call a field by four letters, by the name that other formats give it.
_NAMES = {b"\xa9cmt": "comment", b"\xa9too": "encoder", b"\xa9nam": "title", b"\xa9ART": "artist"}
_NAMES |= {b"\xa9xyz": "location", b"ISFT": "Software", b"ICMT": "comment", b"INAM": "title"}
_NAMES |= {b"IART": "artist", b"ICOP": "copyright", b"cprt": "copyright"}


def walk_mp4(notes: Notes) -> None:
    """List the metadata blocks of an MP4, MOV or M4A file, and the size of its video."""
    data, limit = notes.data, notes.max_block_bytes
    notes.has_content = False
    for name, at, body, stop in boxes(notes, 0, len(data)):
        notes.has_content = notes.has_content or name in (b"mdat", b"moof")
        if name == b"uuid":
            kind = {C2PA_UUID: "c2pa", XMP_UUID: "xmp"}.get(data[body : body + 16])
            if kind:
                notes.add(kind, at, stop - at, data[body + 16 : min(stop, body + 16 + limit)])
        elif name == b"moov":
            _movie(notes, body, stop)
        elif name == b"meta":
            _meta(notes, body, stop)


def _children(notes: Notes, at: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield the boxes inside another; a defective one ends it and is noted, no more."""
    data = notes.data
    while at + 8 <= end:
        notes.step()
        length, name = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if length == 1 and body + 8 <= end:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if length == 0 and name != b"\0\0\0\0" else at + length
        if name == b"\0\0\0\0" and length == 0:
            return  # the four zero bytes that end a list of user data, and what follows
        if stop < body or stop > end:
            notes.flaw(f"box {name.decode('latin-1')!r} at byte {at:,} reaches past its parent")
            return
        yield name, at, body, stop
        at = stop


def _movie(notes: Notes, start: int, end: int) -> None:
    for name, _, body, stop in _children(notes, start, end):
        if name == b"trak":
            for inner, _, at, last in _children(notes, body, stop):
                if inner == b"tkhd":
                    _track_header(notes, at, last)
                elif inner == b"udta":
                    _user_data(notes, at, last)
        elif name == b"udta":
            _user_data(notes, body, stop)
        elif name == b"meta":
            _meta(notes, body, stop)


def _track_header(notes: Notes, at: int, end: int) -> None:
    """Note width and height, 16.16 fixed point at the end of the header."""
    where = at + (88 if notes.data[at] == 1 else 76)
    if where + 8 <= end:
        width, height = (value >> 16 for value in struct.unpack_from(">II", notes.data, where))
        if width * height > notes.width * notes.height:
            notes.width, notes.height = width, height


def _user_data(notes: Notes, start: int, end: int) -> None:
    data = notes.data
    for name, at, body, stop in _children(notes, start, end):
        if name == b"meta":
            _meta(notes, body, stop)
        elif name == b"XMP_":
            notes.add("xmp", at, stop - at, data[body : min(stop, body + notes.max_block_bytes)])
        elif name == b"AIGC":
            _text(notes, "AIGC", at, stop, data[body : min(stop, body + _TEXT_CHUNK)])
        elif name[:1] == b"\xa9" and stop - body > 4:
            (length,) = struct.unpack_from(">H", data, body)
            _text(notes, _key(name), at, stop, data[body + 4 : min(stop, body + 4 + length)])


def _meta(notes: Notes, start: int, end: int) -> None:
    """Read a list of keys and its values; ISO's form has a version first, QuickTime's none."""
    data = notes.data
    first = start if data[start + 4 : start + 8] == b"hdlr" else start + 4
    keys: list[str] = []
    for name, _, body, stop in _children(notes, first, end):
        if name == b"keys":
            keys = _keys(notes, body, stop)
        elif name == b"ilst":
            for inner, at, item, last in _children(notes, body, stop):
                (number,) = struct.unpack(">I", inner)
                key = keys[number - 1] if 0 < number <= len(keys) else _key(inner)
                _item(notes, inner, key, at, item, last)


def _keys(notes: Notes, at: int, end: int) -> list[str]:
    (count,) = struct.unpack_from(">I", notes.data, at + 4)
    found: list[str] = []
    at += 8
    while len(found) < count and at + 8 <= end:
        notes.step()
        (length,) = struct.unpack_from(">I", notes.data, at)
        if length < 8 or at + length > end:
            break
        found.append(notes.data[at + 8 : at + min(length, 264)].decode("utf-8", "replace"))
        at += length
    return found


def _item(notes: Notes, name: bytes, key: str, at: int, body: int, end: int) -> None:
    """Note one value of a list as text, if it is one."""
    data = notes.data
    for inner, _, start, stop in _children(notes, body, end):
        if inner == b"name" and name == _FREEFORM:
            key = data[start + 4 : min(stop, start + 260)].decode("utf-8", "replace")
        elif inner == b"data" and stop - start >= 8:
            (kind,) = struct.unpack_from(">I", data, start)
            if kind & 0xFFFFFF in (_UTF8, _IMPLICIT):
                _text(notes, key, at, end, data[start + 8 : min(stop, start + 8 + _TEXT_CHUNK)])


def _key(name: bytes) -> str:
    return _NAMES.get(name, name.decode("latin-1").strip())


def _text(notes: Notes, key: str, at: int, end: int, value: bytes) -> None:
    """Note a text, in UTF-8; what is none in that or another encoding is left out."""
    value = value.rstrip(b"\0")
    with contextlib.suppress(UnicodeDecodeError):
        value.decode("utf-8")
        notes.add("text", at, end - at, value, key)


_RIFF_KINDS = {b"C2PA": "c2pa", b"_PMX": "xmp", b"XMP ": "xmp"}


def walk_riff(notes: Notes) -> None:
    """List the metadata blocks of a WAV or AVI file."""
    data = notes.data
    promised = 8 + struct.unpack_from("<I", data, 4)[0]
    end = min(len(data), promised)
    _chunks(notes, 12, end)
    if promised > len(data) + 1:
        raise notes.cut(f"truncated after {len(data):,} bytes", promised)
    if (rest := data[end:]).strip(b"\0") and rest[:4] != b"RIFF":  # AVI goes on in further RIFFs
        notes.add("trailer", end, len(rest), rest[: 2**16])


def _chunks(notes: Notes, at: int, end: int) -> None:
    data = notes.data
    while at + 8 <= end:
        notes.step()
        name, length = struct.unpack_from("<4sI", data, at)
        body, stop = at + 8, at + 8 + length
        if stop > len(data):
            reason = f"chunk {name.decode('latin-1')!r} at byte {at:,} reaches past the end"
            raise notes.cut(reason, stop)
        if name == b"LIST":
            _list(notes, body, stop)
        elif name == b"AIGC":
            _text(notes, "AIGC", at, stop, data[body : min(stop, body + _TEXT_CHUNK)])
        elif name in (b"id3 ", b"ID3 "):
            _id3(notes, body, stop)
        elif kind := _RIFF_KINDS.get(name):
            notes.add(kind, at, length + 8, data[body : min(stop, body + notes.max_block_bytes)])
        at = stop + (length & 1)


def _list(notes: Notes, body: int, end: int) -> None:
    """Note the texts of an INFO list, and the size that AVI's main header states."""
    data, kind, at = notes.data, notes.data[body : body + 4], body + 4
    while kind in (b"INFO", b"hdrl") and at + 8 <= end:
        notes.step()
        name, length = struct.unpack_from("<4sI", data, at)
        stop = at + 8 + length
        if stop > end:
            notes.flaw(f"entry {name.decode('latin-1')!r} at byte {at:,} reaches past its list")
            return
        value = data[at + 8 : min(stop, at + 8 + _TEXT_CHUNK)]
        if kind == b"INFO":
            _text(notes, _key(name), at, stop, value)
        elif name == b"avih" and length >= 40:
            notes.width, notes.height = struct.unpack_from("<II", value, 32)
        at = stop + (length & 1)


def is_mpeg_audio(data: bytes) -> bool:
    """Tell whether bytes begin with a frame of MPEG audio, layer III.

    Where the next frame lies in hand it must begin like one too: two bytes are little to go by.
    """
    length = _frame_bytes(data)
    return length > 0 and (len(data) < length + 4 or _frame_bytes(data[length:]) > 0)


_BITRATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LOW_BITRATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def _frame_bytes(data: bytes) -> int:
    """Return the length of an MPEG audio frame, layer III; 0 if it is none (ISO 11172-3 §2.4.1)."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return 0
    version, rate, pace = data[1] >> 3 & 3, data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or not 0 < rate < 15 or pace == 3:
        return 0
    kbits = (_BITRATES if version == 3 else _LOW_BITRATES)[rate]
    samples = 144_000 if version == 3 else 72_000
    return samples * kbits // _RATES[version][pace] + (data[2] >> 1 & 1)


def walk_mp3(notes: Notes) -> None:
    """List the metadata blocks of an MP3 file: its ID3v2 tag."""
    if end := id3_end(notes.data):
        if end > len(notes.data):
            raise notes.cut(f"its tag reaches past the end, at byte {end:,}", end)
        _id3(notes, 0, end)


def id3_end(data: bytes) -> int:
    """Return where an ID3v2 tag at the start ends; 0 if there is none."""
    return 10 + _syncsafe(data[6:10]) if data[:3] == b"ID3" else 0


def flac_start(data: bytes) -> int:
    """Return where a FLAC stream begins, at 0 or behind an ID3 tag; −1 if none does."""
    at = id3_end(data)
    return at if data[at : at + 4] == b"fLaC" else -1


_COMMENTS = 4  # type of the metadata block that holds Vorbis comments


def walk_flac(notes: Notes) -> None:
    """List the metadata blocks of a FLAC file: an ID3 tag in front, and its Vorbis comments."""
    data = notes.data
    at = max(0, flac_start(data))
    _id3(notes, 0, at)
    at += 4
    while True:
        notes.step()
        kind, length = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
        stop = at + 4 + length
        if stop > len(data):
            raise notes.cut(f"metadata block at byte {at:,} reaches past the end", stop)
        if kind & 0x7F == _COMMENTS:
            _comments(notes, at + 4, stop)
        if kind & 0x80:
            return
        at = stop


def _comments(notes: Notes, at: int, end: int) -> None:
    """Note Vorbis comments: the writer's name, then texts `KEY=value`."""
    data = notes.data
    (length,) = struct.unpack_from("<I", data, at)
    if at + 4 + length <= end:
        _text(notes, "Software", at, at + 4 + length, data[at + 4 : at + 4 + length][:_TEXT_CHUNK])
    at += 4 + length
    (count,) = struct.unpack_from("<I", data, at)
    at += 4
    for _ in range(count):
        notes.step()
        (length,) = struct.unpack_from("<I", data, at)
        stop = at + 4 + length
        if stop > end:
            notes.flaw(f"comment at byte {at:,} reaches past its block")
            return
        key, _, value = data[at + 4 : stop].partition(b"=")
        _text(notes, key[:256].decode("latin-1"), at, stop, value[:_TEXT_CHUNK])
        at = stop


def _syncsafe(data: bytes) -> int:
    value = 0
    for byte in data:
        value = value << 7 | byte & 0x7F
    return value


def _id3(notes: Notes, start: int, end: int) -> None:
    """Note texts, XMP and manifest store of one ID3v2 tag."""
    data = notes.data
    if data[start : start + 3] != b"ID3" or start + 10 > end:
        return
    version, flags = data[start + 3], data[start + 5]
    at, tag = start + 10, data
    if flags & 0x80 and version < 4:
        # a zero byte was put behind each 0xFF; offsets are then those of the whole tag
        tag = data[:at] + data[at:end].replace(b"\xff\x00", b"\xff")
        end = len(tag)
    if flags & 0x40 and version >= 3:
        extended = tag[at : at + 4]
        at += _syncsafe(extended) if version == 4 else 4 + int.from_bytes(extended, "big")
    head, word = (6, 3) if version == 2 else (10, 4)
    while at + head < end and tag[at : at + 1] not in (b"", b"\0"):
        notes.step()
        name, size = tag[at : at + word], tag[at + word : at + 2 * word]
        length = _syncsafe(size) if version == 4 else int.from_bytes(size, "big")
        body = at + head
        if not length or body + length > end:
            notes.flaw(f"frame {name.decode('latin-1')!r} at byte {at:,} reaches past its tag")
            return
        value = tag[body : body + length]
        if version == 4 and tag[at + 9] & 0x02:
            value = value.replace(b"\xff\x00", b"\xff")
        if version == 4 and tag[at + 9] & 0x01:
            value = value[4:]
        _frame(notes, name, at, head + length, value)
        at = body + length


_FRAMES = {b"TSSE": "Software", b"TPE1": "artist", b"TIT2": "title", b"TCOP": "copyright"}
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}


def _frame(notes: Notes, name: bytes, at: int, length: int, value: bytes) -> None:
    if name in (b"GEOB", b"GEO"):
        rest = value[1:].partition(b"\0")[2]
        store = rest.find(b"jumb") - 4  # behind file name and description, in any encoding
        if store >= 0 and rest[store + 12 : store + 16] == b"jumd":
            notes.add("c2pa", at, length, rest[store : store + notes.max_block_bytes])
    elif name == b"PRIV" and value.startswith(b"XMP\0"):
        notes.add("xmp", at, length, value[4 : 4 + notes.max_block_bytes])
    elif name in (b"TXXX", b"TXX"):
        key, text = _split(value[:1], value[1:])
        notes.add("text", at, length, text.encode(), key)
    elif name in (b"COMM", b"COM"):
        _, text = _split(value[:1], value[4:])
        notes.add("text", at, length, text.encode(), "comment")
    elif name[:1] == b"T":
        text = _decode(value[:1], value[1:])
        notes.add("text", at, length, text.encode(), _FRAMES.get(name) or name.decode("latin-1"))


def _decode(encoding: bytes, value: bytes) -> str:
    codec = _ENCODINGS.get(encoding[0] if encoding else 0, "latin-1")
    return value[:_TEXT_CHUNK].decode(codec, "replace").rstrip("\0")


def _split(encoding: bytes, value: bytes) -> tuple[str, str]:
    """Split a description from its value; either may begin with a mark of byte order."""
    wide = encoding in (b"\1", b"\2")
    at = 0
    if wide:
        while at + 1 < len(value) and value[at : at + 2] != b"\0\0":
            at += 2
    else:
        at = value.find(b"\0")
        at = len(value) if at < 0 else at
    step = 2 if wide else 1
    return _decode(encoding, value[:at]), _decode(encoding, value[at + step :])
