"""Metadata of one picture that can lead to a person: places, cameras, names, identifiers.

EXIF with the makers' notes, XMP, IPTC-IIM and texts. Each hit is a `PersonalField` with its value
as bytes or text, so that a redacted file can be searched for it; findings name the fields and
never repeat the values, since reports are passed on.

Sources: EXIF 2.32 §4.6 and 3.0 (tags); DNG 1.7; XMP specification parts 1 and 2; IPTC Photo
Metadata 2025.1; IPTC-IIM 4.2; MWG guidelines 2.0 (regions).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from counterproof.audit.maker_notes import read_maker_note
from counterproof.audit.metadata_fields import fields_of

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = ["KINDS", "PersonalField", "personal_fields"]

KINDS = ("gps", "person", "contact", "serial", "place", "identifier")

_MAX_FIELDS = 400
_EXIF = {
    ("ifd0", 0x013B): ("person", "Artist"),
    ("ifd0", 0x8298): ("person", "Copyright"),
    ("ifd0", 0x013C): ("serial", "HostComputer"),
    ("ifd0", 0x9C9D): ("person", "XPAuthor"),
    ("ifd0", 0xC62F): ("serial", "CameraSerialNumber"),
    ("ifd0", 0xC65D): ("identifier", "RawDataUniqueID"),
    ("exif", 0xA420): ("identifier", "ImageUniqueID"),
    ("exif", 0xA430): ("person", "CameraOwnerName"),
    ("exif", 0xA431): ("serial", "BodySerialNumber"),
    ("exif", 0xA435): ("serial", "LensSerialNumber"),
    ("exif", 0xA437): ("person", "Photographer"),
    ("exif", 0xA438): ("person", "ImageEditor"),
    ("exif", 0xFDE8): ("person", "OwnerName"),
    ("exif", 0xFDE9): ("serial", "SerialNumber"),
}
_XMP = {
    "person": "creator rights Owner OwnerName CameraOwnerName CaptionWriter AuthorsPosition Credit "
    "Artist Author Copyright Photographer PersonInImage PersonInImageName PersonDisplayName "
    "CopyrightOwnerName ImageCreatorName LicensorName AIPromptWriterName RegionName UserID",
    "contact": "CiAdrExtadr CiAdrCity CiAdrCtry CiAdrPcode CiAdrRegion CiEmailWork CiTelWork "
    "CiUrlWork LicensorEmail LicensorTelephone1 LicensorTelephone2 PersonEmailDigest "
    "PersonLiveIdCID",
    "serial": "SerialNumber LensSerialNumber BodySerialNumber CameraSerialNumber HostComputer",
    "place": "City State Country Location Sublocation ProvinceState CountryName CountryCode "
    "LocationName",
    "identifier": "DocumentID OriginalDocumentID InstanceID instanceID documentID "
    "originalDocumentID ImageUniqueID DigitalImageGUID RawFileName",
}
_XMP_KIND = {name: kind for kind, names in _XMP.items() for name in names.split()}
_TAGGED = re.compile(
    rb"(?:[A-Za-z_][\w-]{0,40}:)(" + "|".join(map(re.escape, _XMP_KIND)).encode() + rb")"
    rb"(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)')"
    rb"|(?:\s[^>]*)?>\s*((?:<(?:rdf:)?(?:Seq|Bag|Alt|li)\b[^>]*>\s*)*[^<]{1,400}))"
)
_GPS = re.compile(rb"(?:[A-Za-z_][\w-]{0,40}:)(GPS\w{1,40})\s*(?:=\s*[\"']|>)([^\"'<]{1,200})")
_REGION = re.compile(rb"mwg-rs:Name\s*(?:=\s*[\"']|>)([^\"'<]{1,200})")
_IPTC = {"person": "By-line By-lineTitle Credit CopyrightNotice Writer-Editor"}
_IPTC |= {"place": "City Sub-location Province-State Country", "contact": "2:118"}
_IPTC_KIND = {name: kind for kind, names in _IPTC.items() for name in names.split()}
_TEXT_KEYS = {"author": "person", "copyright": "person", "artist": "person", "creator": "person"}
# of video and sound: QuickTime's keys, and those that other containers use for the same
_TEXT_KEYS |= {"com.apple.quicktime.location.iso6709": "gps", "location": "gps"}
_TEXT_KEYS |= {"location-eng": "gps", "com.apple.quicktime.author": "person"}
_EMAIL = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24}\b")
_HOME = re.compile(r"(?:[A-Za-z]:\\Users\\|/home/|/Users/)([^\\/\s\"'<>]{1,64})[\\/]")
_NO_ONE = {"shared", "public", "default", "runner", "root", "ubuntu"}


@dataclass(frozen=True, slots=True)
class PersonalField:
    """One tag or property.

    Attributes:
        kind: one of `KINDS`.
        group: `exif`, `makernote`, `gps`, `xmp`, `iptc`, `text`.
        name: as the standard of the group calls it.
        value: as it lies in the file.
    """

    kind: str
    group: str
    name: str
    value: bytes


def personal_fields(image: "ImageFile") -> list[PersonalField]:
    """List what the metadata of one picture says of persons, at most 400 fields; no pixels."""
    found: list[PersonalField] = []
    for item in _all(image):
        if item.value.strip(b"\0 \t\r\n") and item not in found:
            found.append(item)
            if len(found) >= _MAX_FIELDS:
                break
    return found


def _all(image: "ImageFile") -> Iterator[PersonalField]:
    yield from _exif(image)
    for block in image.blocks("xmp", "xmp_extended"):
        yield from _xmp(block.data)
    for item in fields_of(image):
        value = item.value.encode("utf-8", "replace")
        if item.group == "iptc" and (kind := _IPTC_KIND.get(item.name.partition(" (")[0])):
            yield PersonalField(kind, "iptc", item.name, value)
        elif item.group == "text" and (kind := _TEXT_KEYS.get(item.name.lower())):
            yield PersonalField(kind, "text", item.name, value)
    yield from _free_text(image)


def _exif(image: "ImageFile") -> Iterator[PersonalField]:
    exif = image.exif_directories
    if exif is None:
        return
    for (directory, tag), (kind, name) in _EXIF.items():
        # some programs write a tag into the directory of the other
        other = "exif" if directory == "ifd0" else "ifd0"
        if entry := exif.entry(directory, tag) or exif.entry(other, tag):
            value = exif.data[entry.at : entry.at + min(entry.length, 4096)]
            yield PersonalField(kind, "exif", name, value)
    gps = exif.directories.get("gps")
    for tag, entry in gps.entries.items() if gps else ():
        if tag:  # 0 is the version of the directory
            from PIL.ExifTags import GPSTAGS

            value = exif.data[entry.at : entry.at + min(entry.length, 4096)]
            # a place at 0° is written in zeros: keep the bytes that say a tag is there
            shown = value if value.strip(b"\0") else b"0"
            yield PersonalField("gps", "gps", GPSTAGS.get(tag, f"0x{tag:04X}"), shown)
    for kind, name, value in read_maker_note(exif):
        yield PersonalField(kind, "makernote", name, value)


def _xmp(data: bytes) -> Iterator[PersonalField]:
    from counterproof.xmp import as_utf8

    text = as_utf8(data)[: 8 * 2**20]
    for match in _TAGGED.finditer(text):
        name = match[1].decode()
        value = match[2] or match[3] or (match[4] or b"").rpartition(b">")[2]
        yield PersonalField(_XMP_KIND[name], "xmp", name, value.strip())
    for match in _GPS.finditer(text):
        if match[1] != b"GPSVersionID":
            yield PersonalField("gps", "xmp", match[1].decode(), match[2].strip())
    for match in _REGION.finditer(text):
        yield PersonalField("person", "xmp", "Regions", match[1].strip())


def _free_text(image: "ImageFile") -> Iterator[PersonalField]:
    """Find addresses and home folders in whatever text the metadata holds."""
    from counterproof.exif_text import read_exif_text

    texts = [block.data.decode("utf-8", "replace") for block in image.blocks("text", "comment")]
    texts += [block.data.decode("utf-8", "replace") for block in image.blocks("xmp")]
    if image.exif_directories:
        texts += [item.text for item in read_exif_text(image.exif_directories)]
    for text in texts:
        for match in _EMAIL.finditer(text[: 2**20]):
            yield PersonalField("contact", "text", "e-mail address", match[0].encode())
        for match in _HOME.finditer(text[: 2**20]):
            if match[1].lower() not in _NO_ONE:
                yield PersonalField("person", "text", "home folder", match[1].encode())
