"""Small films, sounds and documents, made when a test asks for one.

Test modules load it with `runpy`, since they are no package.
"""

import struct
import zlib

LABEL = (
    '{"Label":"1","ContentProducer":"00119111000000000000000000000","ProduceID":"p1",'
    '"ReservedCode1":"","ContentPropagator":"","PropagateID":"","ReservedCode2":""}'
)


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def full(name: bytes, *parts: bytes) -> bytes:
    return box(name, b"\0\0\0\0", *parts)


def keyed(values: dict[str, str], *, quicktime: bool = False) -> bytes:
    """Make a `meta` box with `keys` and `ilst`, as ffmpeg writes it, or in QuickTime's form."""
    names = b"".join(struct.pack(">I4s", 8 + len(key), b"mdta") + key.encode() for key in values)
    items = b"".join(
        box(struct.pack(">I", number), box(b"data", struct.pack(">II", 1, 0), value.encode()))
        for number, value in enumerate(values.values(), 1)
    )
    handler = full(b"hdlr", b"\0\0\0\0mdta" + b"\0" * 13)
    make = box if quicktime else full
    return make(
        b"meta",
        handler,
        full(b"keys", struct.pack(">I", len(values)), names),
        box(b"ilst", items),
    )


def freeform(name: str, value: str) -> bytes:
    """Make a `meta` box with one field of iTunes' free form."""
    item = box(
        b"----",
        full(b"mean", b"com.apple.iTunes"),
        full(b"name", name.encode()),
        box(b"data", struct.pack(">II", 1, 0), value.encode()),
    )
    return full(b"meta", full(b"hdlr", b"\0\0\0\0mdir" + b"\0" * 13), box(b"ilst", item))


def spoken(name: bytes, value: str) -> bytes:
    """Make a text of QuickTime's user data."""
    return box(name, struct.pack(">HH", len(value.encode()), 0x15C7), value.encode())


def film(
    *user_data: bytes, brand: bytes = b"isom", movie: bytes = b"", content: int = 500
) -> bytes:
    """Make an MP4 or MOV file with one video track of 64 × 48 pixels."""
    start = box(b"ftyp", brand, struct.pack(">I", 512), brand, b"mp41" if brand == b"isom" else b"")
    header = full(b"tkhd", bytes(72), struct.pack(">II", 64 << 16, 48 << 16))

    def make(offset: int) -> bytes:
        table = full(b"stco", struct.pack(">II", 1, offset))
        track = box(b"trak", header, box(b"mdia", box(b"minf", box(b"stbl", table))))
        inside = box(b"udta", *user_data) if user_data else b""
        return start + box(b"moov", full(b"mvhd", bytes(96)), track, inside, movie)

    head = make(0)
    return make(len(head) + 8) + box(b"mdat", bytes(range(256)) * (content // 256 + 1))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) & 1)


def riff(kind: bytes, *chunks: bytes) -> bytes:
    body = kind + b"".join(chunks)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def sound(*chunks: bytes) -> bytes:
    """Make a WAV file of 400 samples."""
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8))
    return riff(b"WAVE", form, *chunks, chunk(b"data", bytes(range(200)) * 2))


def info(**values: str) -> bytes:
    entries = b"".join(chunk(name.encode(), text.encode() + b"\0") for name, text in values.items())
    return chunk(b"LIST", b"INFO" + entries)


def _syncsafe(value: int) -> bytes:
    return bytes(value >> shift & 0x7F for shift in (21, 14, 7, 0))


def frame(name: bytes, body: bytes, version: int = 4) -> bytes:
    if version == 2:
        return name + len(body).to_bytes(3, "big") + body
    size = _syncsafe(len(body)) if version == 4 else struct.pack(">I", len(body))
    return name + size + b"\0\0" + body


def song(*frames: bytes, version: int = 4, flags: int = 0) -> bytes:
    """Make an MP3 file: a tag, and three frames of silence at 128 kbit/s, 44.1 kHz."""
    body = b"".join(frames)
    silence = (b"\xff\xfb\x90\x00" + bytes(413)) * 3
    if not frames:
        return silence
    return b"ID3" + bytes((version, 0, flags)) + _syncsafe(len(body)) + body + silence


def lossless(*comments: str) -> bytes:
    """Make a FLAC file: what describes the stream, comments, and bytes in place of frames."""
    texts = [b"example 1.0", *(text.encode() for text in comments)]
    parts = [struct.pack("<I", len(text)) + text for text in texts]
    body = parts[0] + struct.pack("<I", len(comments)) + b"".join(parts[1:])
    stream = b"\0" + (34).to_bytes(3, "big") + bytes(34)
    return (
        b"fLaC" + stream + b"\x84" + len(body).to_bytes(3, "big") + body + b"\xff\xf8" + bytes(400)
    )


def paper(information: bytes = b"", packet: bytes = b"", *, packed: bool = False) -> bytes:
    """Make a PDF file of one empty page."""
    stream = zlib.compress(packet) if packed else packet
    packing = b"/Filter /FlateDecode " if packed else b""
    kind = b"/Type /Metadata /Subtype /XML "
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R" + (b" /Metadata 4 0 R" if packet else b"") + b" >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] >>",
    ]
    if packet:
        head = b"<< " + kind + packing + b"/Length %d >>" % len(stream)
        objects.append(head + b"\nstream\n" + stream + b"\nendstream")
    if information:
        objects.append(b"<< " + information + b" >>")
    out, places = b"%PDF-1.7\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + text + b"\nendobj\n"
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % at for at in places)
    root = b"/Root 1 0 R" + (b" /Info %d 0 R" % len(objects) if information else b"")
    out += b"trailer\n<< /Size %d " % (len(objects) + 1) + root + b" >>\n"
    return out + b"startxref\n%d\n%%%%EOF\n" % table
