r"""How completely personal metadata is found, and how often the face detector marks what is none.

`tags`: ExifTool's list of GPS, serial, person, place and identifier tags of the same files is the
label; a tag counts as found if our list of that kind has one of the same name.
`previews`: the same for small and further pictures, compared byte for byte; what lies behind the
end of the picture counts where the finding of remains covers it.
`faces`: pictures of a folder. `counted`: the pictures of a list beside this script, in which faces
of at least 18 pixels were counted by hand (`small`: there are smaller ones alone).

    exiftool -json -G1 -a -r -n FOLDER… > tags.json
    python benchmarks/audit_privacy.py tags tags.json
    exiftool -json -b -G1 -a -r -ThumbnailImage -PreviewImage -OtherImage -JpgFromRaw \
        -PhotoshopThumbnail -PhotoshopBGRThumbnail -MPImage2 -MPImage3 FOLDER… > previews.json
    python benchmarks/audit_privacy.py previews previews.json
    python benchmarks/audit_privacy.py faces FOLDER [--prefix NAME]
    python benchmarks/audit_privacy.py counted detect/dev
    python benchmarks/audit_privacy.py counted photos --list faces_counted_photos.csv
    python benchmarks/audit_privacy.py small PHOTOS --portraits FOLDER
"""

import argparse
import base64
import csv
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
from scipy.stats import binomtest

from counterproof.audit.embedded import further_pictures, remains, small_pictures
from counterproof.audit.faces import FaceDetector
from counterproof.audit.personal_fields import personal_fields
from counterproof.errors import ImageError
from counterproof.images import ImageFile

KINDS = {
    "gps": r"(GPS|XMP-exif):GPS(?!VersionID)",
    "serial": r"(?!CBOR|JSON|ICC).*:(Internal|Body|Lens|Camera)?SerialNumber$|.*:HostComputer$",
    "person": r"(IFD0|ExifIFD|XMP-[\w-]+|IPTC|Canon|PNG|Reconyx):(Artist|Copyright|Creator|Rights|"
    r"OwnerName|By-line.*|Credit|CopyrightNotice|Writer-Editor|CaptionWriter|AuthorsPosition|"
    r"PersonInImage|Author|RegionName|UserLabel|AIPromptWriterName)$",
    "place": r"(XMP-\w+|IPTC):(City|Sub-location|State|Country|Location|Province-State)$",
    "identifier": r"(XMP-xmpMM|ExifIFD|XMP-exif|Apple|XMP-crs):(DocumentID|InstanceID|"
    r"OriginalDocumentID|ImageUniqueID|RawFileName|HistoryInstanceID|DerivedFrom.*ID|BurstUUID|"
    r"ContentIdentifier)$",
}
ALIASES = {"regionname": "regions"}
READ = ("jpeg", "png", "webp", "gif", "tiff", "avif", "heic", "heif")
SIDES = (44, 60, 80, 110)  # of the portraits that `small` lays; a face is about half of it
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def interval(found: int, n: int) -> str:
    low, high = binomtest(found, n).proportion_ci(method="exact") if n else (0, 1)
    return f"{found}/{n} = {found / max(n, 1):.3f} (95 % {low:.3f} to {high:.3f})"


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def tags(rows: list[dict[str, Any]]) -> None:
    """Compare with ExifTool's tags; name each miss."""
    wanted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    others = 0
    for row in rows:
        path = row["SourceFile"]
        labels = [
            (kind, tag.partition(":")[2])
            for tag, value in row.items()
            for kind, pattern in KINDS.items()
            if re.match(pattern, tag) and str(value).strip() not in ("", "(none)")
        ]
        if not labels:
            continue
        try:
            image = ImageFile.open(path)
        except ImageError as err:
            print("unreadable", path, err)
            continue
        if image.format not in READ:
            others += len(labels)
            continue
        ours = personal_fields(image)
        for kind, tag in labels:
            name = ALIASES.get(tag.lower(), plain(tag))
            names = [plain(item.name) for item in ours if item.kind == kind]
            wanted[kind] += 1
            if any(one in name or name in one for one in names):
                found[kind] += 1
            else:
                print("missed", kind, tag, Path(path).name)
    print("in files of other formats, not counted:", others)
    for kind in KINDS:
        print(kind, interval(found[kind], wanted[kind]))


def previews(rows: list[dict[str, Any]]) -> None:
    """Compare with ExifTool's small pictures; name each miss."""
    wanted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for row in rows:
        path = row["SourceFile"]
        labels = {
            tag: base64.b64decode(value[7:])
            for tag, value in row.items()
            if isinstance(value, str) and value.startswith("base64:")
        }
        try:
            image = ImageFile.open(path)
        except ImageError:
            continue
        if not labels or image.format not in READ:
            wanted["in files of other formats, not counted"] += len(labels)
            continue
        held = [item.data for item in small_pictures(image)]
        held += [data for _, data in further_pictures(image)]
        rest = remains(image)
        behind = image.data[rest.offset :] if rest else b""
        for tag, data in labels.items():
            group = f"{Path(path).parts[0]} {tag.partition(':')[2]}"
            wanted[group] += 1
            # some tags end with bytes behind the picture's own end
            if any(one in data or data in one for one in held) or data in behind:
                found[group] += 1
            else:
                print("missed", tag, len(data), path)
    for group in sorted(wanted):
        print(group, interval(found[group], wanted[group]))


def faces(folder: Path, prefix: str) -> None:
    detector, seen, marked = FaceDetector(), 0, 0
    for path in sorted(folder.rglob(f"{prefix}*")):
        if path.suffix.lower() not in SUFFIXES:
            continue
        try:
            pixels = ImageFile.open(path).pixels()
        except ImageError:
            continue
        seen += 1
        marked += bool(detector.find(pixels))
    print(f"{folder.name}/{prefix}* with a marked face:", interval(marked, seen))


def counted(folder: Path, listed: str, skip: int, stop: int | None) -> None:
    """Compare with the faces that were counted by hand; name what differs."""
    detector, found, wanted, without, marked = FaceDetector(), 0, 0, 0, 0
    with Path(__file__).with_name(listed).open(encoding="utf-8") as file:
        for row in list(csv.DictReader(file))[skip:stop]:
            seen = len(detector.find(ImageFile.open(folder / row["file"]).pixels()))
            if row["faces"] == "small":
                continue
            count = int(row["faces"])
            wanted += count
            found += min(seen, count)
            without += not count
            marked += bool(seen and not count)
            if seen != count:
                print(f"{row['file']}: {seen} found, {count} counted")
    print("faces found:", interval(found, wanted))
    print("pictures without a face that were marked:", interval(marked, without))


def small(photos: Path, portraits: Path, most: int) -> None:
    """Lay six small portraits at chance into each photograph without people, and look for them."""
    shown = sorted(p for p in portraits.rglob("*") if p.suffix.lower() in SUFFIXES)
    found, laid, marked, paths = 0, 0, 0, sorted(photos.iterdir())[:most]
    for number, path in enumerate(paths):
        pixels, rng = ImageFile.open(path).pixels().copy(), random.Random(number)
        marked += bool(FaceDetector().find(pixels))
        places = []
        for k in range(6):
            face = ImageFile.open(shown[(6 * number + k) % len(shown)]).pixels()
            side = rng.choice(SIDES)
            x, y = rng.randrange(pixels.shape[1] - side), rng.randrange(pixels.shape[0] - side)
            part = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
            pixels[y : y + side, x : x + side] = part
            places.append((x, y, side))
        boxes = [face.box for face in FaceDetector().find(pixels)]
        laid += len(places)
        found += sum(
            any(x < b[0] + b[2] / 2 < x + s and y < b[1] + b[3] / 2 < y + s for b in boxes)
            for x, y, s in places
        )
    print("portraits found:", interval(found, laid))
    print("photographs marked without them:", interval(marked, len(paths)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["tags", "previews", "faces", "counted", "small"])
    parser.add_argument("source", type=Path)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--list", default="faces_counted.csv", help="the faces that were counted")
    parser.add_argument("--portraits", type=Path, help="pictures of one face each, for `small`")
    parser.add_argument("--most", type=int, default=5)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--stop", type=int)
    args = parser.parse_args()
    if args.what == "tags":
        tags(json.loads(args.source.read_text(encoding="utf-8")))
    elif args.what == "previews":
        previews(json.loads(args.source.read_text(encoding="utf-8")))
    elif args.what == "small":
        small(args.source, args.portraits, args.most)
    elif args.what == "counted":
        counted(args.source, args.list, args.skip, args.stop)
    else:
        faces(args.source, args.prefix)


if __name__ == "__main__":
    main()
