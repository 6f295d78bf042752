"""Walk a PDF file for what describes it: XMP, document information, a C2PA manifest store.

Objects are found by their marks, not through the cross-reference table, so that a damaged file
is read too. What lies in compressed object streams is not seen, nor what is encrypted.

Sources: ISO 32000-1 §7.3 (objects), §7.5.8 (streams), §14.3 (metadata, document information);
C2PA 2.4 appendix A.4 (the store is an embedded file with the relationship C2PA_Manifest).
"""

import re

from counterproof.blocks import Notes

__all__ = ["walk_pdf"]

_STREAM = re.compile(rb"stream\r?\n")
_XML = re.compile(rb"/Subtype\s*/XML\b")
_INFO = re.compile(rb"/Info\s+(\d{1,8})\s+(\d{1,5})\s+R\b")
_STORE = re.compile(rb"jumb....jumd", re.DOTALL)
_STORE_TYPE = bytes.fromhex("63327061 0011 0010 8000 00aa00389b71")
"""UUID of a manifest store's description box. Source: C2PA 2.4 §11.1.4.2."""
_ENTRY = re.compile(rb"/([A-Za-z0-9_.#-]{1,64})\s*([(<])")
_MAX_DICTIONARY = 64 * 1024
_MAX_INFO = 16
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def walk_pdf(notes: Notes) -> None:
    """List the metadata blocks of one PDF file."""
    data = notes.data
    for mark in _XML.finditer(data):
        notes.step(10)
        _xmp(notes, mark.start())
    for found in _STORE.finditer(data):
        notes.step(10)
        at = found.start() - 4
        if at >= 0 and data[at + 16 : at + 32] == _STORE_TYPE:
            length = int.from_bytes(data[at : at + 4], "big")
            notes.add("c2pa", at, length, data[at : at + min(length, notes.max_block_bytes)])
    numbers = dict.fromkeys(match.groups() for match in _INFO.finditer(data))
    for number, generation in list(numbers)[-_MAX_INFO:]:
        pattern = rb"(?<!\d)%d\s+%d\s+obj\b" % (int(number), int(generation))
        for match in re.finditer(pattern, data):
            notes.step(10)
            _information(notes, match.end())
    if b"%%EOF" not in data[-2048:]:
        notes.truncated = True
        notes.flaw(f"truncated after {len(data):,} bytes: no end-of-file mark")


def _xmp(notes: Notes, mark: int) -> None:
    """Note the XMP packet of the stream whose dictionary holds this mark."""
    data = notes.data
    begin = _STREAM.search(data, mark, mark + _MAX_DICTIONARY)
    if begin is None:
        return
    end = data.find(b"endstream", begin.end())
    if end < 0:
        return
    head = data[max(0, data.rfind(b"obj", 0, mark)) : begin.start()]
    body = data[begin.end() : min(end, begin.end() + notes.max_block_bytes)]
    if b"/FlateDecode" in head:
        body = notes.inflate(body)
    notes.add("xmp", begin.end(), end - begin.end(), body)


def _information(notes: Notes, start: int) -> None:
    """Note the texts of a document information dictionary."""
    data = notes.data
    end = data.find(b"endobj", start, start + _MAX_DICTIONARY)
    end = start + _MAX_DICTIONARY if end < 0 else end
    at = start
    while entry := _ENTRY.search(data, at, end):
        notes.step()
        if entry[2] == b"(":
            raw, at = _literal(data, entry.end(), end)
        elif data[entry.end() : entry.end() + 1] == b"<":  # a dictionary, not a text
            at = entry.end() + 1
            continue
        else:
            stop = data.find(b">", entry.end(), end)
            if stop < 0:
                return
            digits = re.sub(rb"[^0-9A-Fa-f]", b"", data[entry.end() : stop])
            raw, at = bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode()), stop + 1
        key = entry[1].decode("latin-1")
        notes.add("text", entry.start(), at - entry.start(), _text(raw).encode(), key)


def _literal(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Read a literal string; return it and the offset behind its closing bracket."""
    parts, depth = bytearray(), 1
    while at < end:
        byte = data[at : at + 1]
        if byte == b"\\":
            following = data[at + 1 : at + 2]
            digits = re.match(rb"[0-7]{1,3}", data[at + 1 : at + 4])
            if digits:
                parts.append(int(digits[0], 8) & 0xFF)
                at += 1 + len(digits[0])
                continue
            if following not in (b"\r", b"\n"):
                parts += _ESCAPES.get(following, following)
            at += 2
            continue
        depth += (byte == b"(") - (byte == b")")
        if not depth:
            return bytes(parts), at + 1
        parts += byte
        at += 1
    return bytes(parts), end


def _text(raw: bytes) -> str:
    """Decode a text string (ISO 32000-1 §7.9.2.2)."""
    if raw[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return raw.decode("utf-16", "replace")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
