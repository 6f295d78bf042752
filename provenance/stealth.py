"""Text that programs hide in the lowest bits of a picture's pixels, and NovelAI's signature.

Column by column from the upper left, one bit per pixel in the alpha channel or three in red,
green and blue: a word that names the form, a length in bits (32 bits, big-endian), then the
text in UTF-8, plain or as gzip. The stated length is read and no more. Whether the word is there
is seen in the first column, and that of a PNG is found without decoding its picture.

Source: the form goes back to A1111's extension `stealth_pnginfo`; the layout was compared with
the readers of NovelAI (`nai_meta.py`), Forge and SwarmUI, and with files. The signature is
NovelAI's own (`nai_sig.py`, MIT): Ed25519 over the bytes of red, green and blue, followed by
the settings as Python's `json.dumps` writes them without the signature.
"""

import base64
import binascii
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.findings import Basis, Claim, Finding, Severity
from counterproof.provenance.texts import Text
from counterproof.provenance.trace_evidence import Evidence, Family, Trace, claim_of_mode
from counterproof.provenance.trace_services import SERVICES
from counterproof.provenance.trace_tools import TOOLS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.images import ImageFile

    Plane = NDArray[np.uint8]

__all__ = ["Hidden", "StealthAnalyzer", "check_signature", "read_hidden"]

_FORMS = {
    b"stealth_pnginfo": ("alpha", False),
    b"stealth_pngcomp": ("alpha", True),
    b"stealth_rgbinfo": ("rgb", False),
    b"stealth_rgbcomp": ("rgb", True),
}
_MAGIC_BITS = 15 * 8
_HEAD_BITS = _MAGIC_BITS + 32
_MAX_TEXT_BYTES = 4 * 2**20  # stored and inflated; the settings of one picture take kilobytes
_MAX_CHUNKS = 10_000
_MAX_ROW_BYTES = 2**20
_PNG_CHANNELS = {2: 3, 4: 2, 6: 4}  # colour type → bytes per pixel at 8 bits
_GZIP = 31  # window bits that ask zlib for a gzip header

_NOVELAI_KEY = base64.b64decode("Y2JcQAOhLwzwSDUJPNgL04nS0Tbqm7cSRc4xk0vRMic=")
_MAX_SIGNED_PIXELS = 16_000_000  # NovelAI's largest picture has 3 million
_MAX_QUOTE = 100
_NOVELAI = tuple(family for family in SERVICES if family.code == "trace.novelai")
_FAMILIES: tuple[Family, ...] = (*TOOLS, *_NOVELAI)


@dataclass(frozen=True, slots=True)
class Hidden:
    """What one picture hides.

    Attributes:
        form: the word in front, such as `stealth_pngcomp`.
        channel: `alpha` or `rgb`.
        text: empty if it could not be read.
        damage: why not; empty if it could.
    """

    form: str
    channel: str
    text: str = ""
    damage: str = ""


class StealthAnalyzer(Analyzer):
    """Reads settings hidden in the pixels, and checks the signature of NovelAI.

    Costs 0.5 ms for a PNG without any and a full decode for one with it. A WebP that keeps
    transparency or is lossless is always decoded.
    """

    name = "stealth"
    prefixes = ("trace",)
    stage = Stage.STANDARD
    timeout_s = 20.0

    def analyze(self, image: "ImageFile") -> Iterator[Observation]:
        """Yield at most one finding for the hidden text and one for the signature.

        Raises:
            ImageError: if a picture that hides something cannot be decoded.
        """
        hidden = read_hidden(image)
        said: list[tuple[str, Evidence]] = []
        if hidden:
            evidence = Evidence(image, _texts(hidden))
            yield _finding(hidden, evidence)
            said.append((hidden.channel, evidence))
        if any(b"signed_hash" in block.data for block in image.blocks("text", "exif")):
            said.append(("metadata", Evidence(image)))
        yield from _signature_findings(image, said)


def read_hidden(image: "ImageFile") -> Hidden | None:
    """Read the text hidden in a PNG or WebP; None if it has none.

    Raises:
        ImageError: if the picture has to be decoded and cannot be.
    """
    array: Plane | None = None
    if image.format == "png":
        column = _first_column(image)
        if column is not None and not any(_magic(plane) for plane in _planes(column)):
            return None
        if column is None and not _may_hide(image):
            return None
    elif image.format != "webp" or not _keeps_bits(image):
        return None
    array = image.stored()
    for plane in _planes(array):
        if form := _magic(plane):
            return _read(plane, form)
    return None


def _planes(array: "Plane") -> "list[Plane]":
    """Return alpha, then red, green and blue, as far as the picture stores them in 8 bits."""
    if array.ndim != 3 or array.dtype != np.uint8:
        return []
    planes = [array[:, :, -1:]] if array.shape[2] in (2, 4) else []
    return [*planes, array[:, :, :3]] if array.shape[2] in (3, 4) else planes


def _bits(plane: "Plane", start: int, count: int) -> "Plane":
    """Return `count` lowest bits from `start` on, down the columns; fewer if there are fewer."""
    height, _, channels = plane.shape
    per_column = height * channels
    first, last = start // per_column, -(-(start + count) // per_column)
    # [x, y, channel]: the order in which they are written
    columns = plane[:, first:last].swapaxes(0, 1).reshape(-1) & np.uint8(1)
    offset = start - first * per_column
    return columns[offset : offset + count]


def _magic(plane: "Plane") -> bytes:
    """Return the word in front, if it is one that this channel may have."""
    word = np.packbits(_bits(plane, 0, _MAGIC_BITS)).tobytes()
    channel = "alpha" if plane.shape[2] == 1 else "rgb"
    return word if _FORMS.get(word, ("", False))[0] == channel else b""


def _read(plane: "Plane", form: bytes) -> Hidden:
    channel, packed = _FORMS[form]
    name = form.decode()
    stated = _bits(plane, _MAGIC_BITS, 32)
    if len(stated) < 32:
        return Hidden(name, channel, damage="no length")
    count = int.from_bytes(np.packbits(stated).tobytes(), "big")
    if count > min(plane.size - _HEAD_BITS, 8 * _MAX_TEXT_BYTES):
        return Hidden(name, channel, damage="the stated length is too large")
    data = np.packbits(_bits(plane, _HEAD_BITS, count - count % 8)).tobytes()
    if packed:
        inflater = zlib.decompressobj(_GZIP)
        try:
            data = inflater.decompress(data, _MAX_TEXT_BYTES)
        except zlib.error:
            return Hidden(name, channel, damage="defective compression")
        if not inflater.eof:
            return Hidden(name, channel, damage="compression breaks off or is too long")
    try:
        return Hidden(name, channel, data.decode("utf-8"))
    except UnicodeDecodeError:
        return Hidden(name, channel, damage="not text")


# The first column of a PNG


def _may_hide(image: "ImageFile") -> bool:
    """Tell whether a PNG is of a kind that programs hide text in, whatever its first column."""
    header = image.data[8:33]
    if len(header) < 25 or header[16] != 8 or header[17] not in _PNG_CHANNELS:
        return False
    # a row of a megabyte belongs to no program that hides text
    return image.metadata.width * 4 < _MAX_ROW_BYTES


def _first_column(image: "ImageFile") -> "Plane | None":
    """Return the topmost pixels of the first column, shape `(H, 1, C)`; None if not at hand.

    To its left there are no pixels, and without them every filter of PNG needs the pixel above
    and nothing else (PNG 3rd edition §9.2): Sub adds nothing, Up and Paeth add it, Average
    half of it. So the rows are inflated and only their first bytes are looked at.
    """
    header = image.data[8:33]
    if len(header) < 25:
        return None
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", header, 8)
    channels = _PNG_CHANNELS.get(colour, 0)
    length = 1 + width * channels
    if depth != 8 or not channels or interlace or length > _MAX_ROW_BYTES:
        return None
    rows = _MAGIC_BITS if channels in (2, 4) else _MAGIC_BITS // 3
    if height < rows:
        return None
    column = np.zeros((rows, 1, channels), np.uint8)
    above = [0] * channels
    for y, head in enumerate(_row_heads(image.data, length, 1 + channels, rows)):
        if head[0] > 4:
            return None
        half = head[0] == 3
        for i in range(channels):
            added = 0 if head[0] < 2 else above[i] // 2 if half else above[i]
            above[i] = (head[1 + i] + added) & 255
        column[y, 0] = above
        if y == rows - 1:
            return column
    return None


def _row_heads(data: bytes, length: int, wanted: int, rows: int) -> Iterator[bytes]:
    """Yield the first bytes of each row of a PNG, inflating one row at a time."""
    inflater = zlib.decompressobj()
    left, row = rows, b""
    for body in _idat(data):
        rest = body
        while rest:
            try:
                row += inflater.decompress(rest, length - len(row))
            except zlib.error:
                return
            rest = inflater.unconsumed_tail
            if len(row) == length:
                yield row[:wanted]
                row, left = b"", left - 1
                if not left:
                    return
            elif inflater.eof:
                return


def _idat(data: bytes) -> Iterator[bytes]:
    at = 8
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            yield data[at + 8 : at + 8 + length]
        elif name == b"IEND":
            return
        at += 12 + length


def _keeps_bits(image: "ImageFile") -> bool:
    """Tell whether a WebP stores alpha, or everything, without loss."""
    if image.metadata.alpha:
        return True
    data, at = image.data, 12
    for _ in range(64):
        if data[at : at + 4] == b"VP8L":
            return True
        if at + 8 > len(data):
            break
        length = struct.unpack_from("<I", data, at + 4)[0]
        at += 8 + length + (length & 1)
    return False


# What the text says


def _texts(hidden: Hidden) -> list[Text]:
    """Take the text as what would stand in a PNG: as `parameters`, and by its own keys."""
    kind = "text"
    found = [Text(kind, "parameters", hidden.text, 0)] if hidden.text else []
    if hidden.text.startswith("{"):
        try:
            fields = json.loads(hidden.text)
        except (ValueError, RecursionError):
            fields = {}
        for key, value in list(fields.items())[:100]:
            text = value if isinstance(value, str) else json.dumps(value)
            found.append(Text(kind, key, text, 0))
    return found


def _trace(evidence: Evidence, families: Iterable[Family] = _FAMILIES) -> Trace | None:
    return next((trace for family in families if (trace := family.read(evidence))), None)


def _finding(hidden: Hidden, evidence: Evidence) -> Finding:
    trace = _trace(evidence)
    claim = claim_of_mode(trace.mode if trace else "")
    details: dict[str, Any] = {
        "form": hidden.form,
        "channel": hidden.channel,
        "generator": trace.generator[:_MAX_QUOTE] if trace else None,
        "version": (trace.version[:_MAX_QUOTE] or None) if trace else None,
        "model": (trace.model[:_MAX_QUOTE] or None) if trace else None,
        "mode": (trace.mode or None) if trace else None,
        "has_prompt": bool(trace and trace.prompt_chars),
        "prompt_chars": trace.prompt_chars if trace else 0,
        "text_chars": len(hidden.text),
    }
    if hidden.damage:
        details["damage"] = hidden.damage
    severity = Severity.INFO if claim is Claim.EDITED else Severity.MEDIUM
    return Finding(
        StealthAnalyzer.name, "trace.stealth", claim, Basis.DECLARED, severity, details=details
    )


# NovelAI's signature


def _signature_findings(
    image: "ImageFile", said: Iterable[tuple[str, Evidence]]
) -> Iterator[Finding]:
    """Check every copy of NovelAI's settings; one that holds is enough."""
    checked: dict[str, bool] = {}
    mode = ""
    for place, evidence in said:
        trace = _trace(evidence, _NOVELAI)
        comment = evidence.png("Comment") or evidence.exif("UserComment")
        if trace is None or comment is None or "signed_hash" not in comment.value:
            continue
        holds = check_signature(image, comment.value)
        if holds is not None:
            checked[place] = holds
            if holds:
                mode = trace.mode
    if not checked:
        return
    valid = any(checked.values())
    claim = claim_of_mode(mode) if valid else Claim.NONE
    yield Finding(
        StealthAnalyzer.name,
        "trace.novelai.signed" if valid else "trace.novelai.mismatch",
        claim,
        Basis.DECLARED,
        Severity.MEDIUM if valid else Severity.LOW,
        details={
            "signature": "valid" if valid else "does not match this picture",
            "algorithm": "Ed25519",
            "signer": "NovelAI",
            "mode": mode or None,
            "copies": {place: "valid" if holds else "mismatch" for place, holds in checked.items()},
        },
    )


def check_signature(image: "ImageFile", comment: str) -> bool | None:
    """Tell whether NovelAI signed this picture with these settings; None if it did not sign.

    Args:
        image: the picture.
        comment: its settings as JSON text, the signature among them.

    Raises:
        ImageError: if the picture cannot be decoded.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        fields = json.loads(comment[:_MAX_TEXT_BYTES])
        if isinstance(fields, dict) and isinstance(fields.get("Comment"), str):
            fields = json.loads(fields["Comment"])
        if not isinstance(fields, dict) or not isinstance(fields.get("signed_hash"), str):
            return None
        signature = base64.b64decode(fields.pop("signed_hash"), validate=True)
        settings = json.dumps(fields).encode()
    except (ValueError, RecursionError, binascii.Error):
        return None
    if image.metadata.width * image.metadata.height > _MAX_SIGNED_PIXELS:
        return None
    array = image.stored()
    if array.ndim != 3 or array.dtype != np.uint8 or array.shape[2] < 3:
        return False
    try:
        message = np.ascontiguousarray(array[:, :, :3]).tobytes() + settings
        Ed25519PublicKey.from_public_bytes(_NOVELAI_KEY).verify(signature, message)
    except InvalidSignature:
        return False
    return True
