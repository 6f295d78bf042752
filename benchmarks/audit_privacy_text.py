"""How often personal text that a picture shows is found, and how often other pictures are marked.

`recall`: pictures drawn here: numbers with valid check digits and addresses, all invented, in
given fonts and sizes, on a plain panel or straight on the photographs of a folder. A piece counts
as found if a place of its kind covers 90 % of its ink, so that filling the place hides it.
`alarms`: pictures of a folder, each once; those with a place are named, to be looked at by hand.

    python benchmarks/audit_privacy_text.py recall PHOTOS --font A.ttf --font B.ttf [-n 160]
    python benchmarks/audit_privacy_text.py alarms PHOTOS [-n 300]
"""

import argparse
import socket
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import binomtest

from counterproof.audit.personal_text import holds_iban, holds_luhn, zone_digit
from counterproof.audit.readable_text import personal_places
from counterproof.errors import ImageError
from counterproof.images import ImageFile

SIZES = (12, 16, 24)
SIDES = (800, 600)
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".tif", ".tiff", ""}
Box = tuple[int, int, int, int]


def interval(found: int, n: int) -> str:
    low, high = binomtest(found, n).proportion_ci(method="exact") if n else (0, 1)
    return f"{found}/{n} = {found / max(n, 1):.3f} (95 % {low:.3f} to {high:.3f})"


def digits(rng: np.random.Generator, count: int) -> str:
    return "".join(str(value) for value in rng.integers(0, 10, count))


def invented(kind: str, rng: np.random.Generator) -> list[str]:
    """Return the lines of one piece of personal text that belongs to nobody."""
    if kind == "card":
        body = str(rng.choice(["4", "52", "37"])) + digits(rng, 20)
        body = body[: 14 if body.startswith("37") else 15]
        number = next(body + last for last in "0123456789" if holds_luhn(body + last))
        cuts = (4, 10) if len(number) == 15 else (4, 8, 12)
        return [" ".join(number[a:b] for a, b in zip((0, *cuts), (*cuts, None), strict=True))]
    if kind == "iban":
        country, length = [("DE", 22), ("FR", 27), ("GB", 22), ("ES", 24)][rng.integers(4)]
        body = "WEST" + digits(rng, 14) if country == "GB" else digits(rng, length - 4)
        checks = (f"{country}{check:02d}{body}" for check in range(2, 99))
        text = next(item for item in checks if holds_iban(item))
        return [" ".join(text[at : at + 4] for at in range(0, len(text), 4))]
    if kind == "document":
        number = "".join(rng.choice(list("CFGHJKLMNPRTVWXYZ123456789"), 9))
        birth = f"{rng.integers(50, 99)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}"
        expiry = f"{rng.integers(27, 36)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}"
        second = f"{number}{zone_digit(number)}UTO{birth}{zone_digit(birth)}F"
        second += f"{expiry}{zone_digit(expiry)}" + "<" * 14
        second += "0" + zone_digit(second[:10] + second[13:20] + second[21:43] + "0")
        return ["P<UTOSAMPLE<<PERSON<EXAMPLE".ljust(44, "<"), second]
    if kind == "id_number":
        body = "110105" + f"{rng.integers(1950, 2010)}{rng.integers(1, 13):02d}"
        body += f"{rng.integers(1, 29):02d}{digits(rng, 3)}"
        total = sum(int(char) * (2 ** (17 - place) % 11) for place, char in enumerate(body))
        return [body + "10X98765432"[total % 11]]
    if kind == "email":
        first = rng.choice(["jane.doe", "m_weber77", "sales-team", "li.wei", "k.novak"])
        host = rng.choice(["example.org", "mail.example.com", "example.co.uk", "test.example.net"])
        return [f"{first}@{host}"]
    form = rng.integers(3)
    if form == 0:
        return [f"+49 {rng.integers(30, 99)} {digits(rng, 7)}"]
    if form == 1:
        return [f"({rng.integers(201, 989)}) 555-01{digits(rng, 2)}"]
    return [f"1{rng.integers(30, 99)}{digits(rng, 8)}"]


def drawn(
    lines: list[str],
    size: int,
    font: Path | None,
    picture: Image.Image,
    panel: bool,
    rng: np.random.Generator,
) -> list[Box]:
    """Draw lines somewhere in a picture; return the box of the ink of each, none if too wide."""
    face = ImageFont.truetype(str(font), size) if font else ImageFont.load_default(size)
    draw = ImageDraw.Draw(picture)
    inks = [tuple(int(value) for value in draw.textbbox((0, 0), text, font=face)) for text in lines]
    step = round(1.6 * size)
    width, height = max(ink[2] for ink in inks), step * len(lines)
    if width + 2 * size > picture.width:
        return []
    x = int(rng.integers(size, picture.width - width - size + 1))
    y = int(rng.integers(size, picture.height - height - size + 1))
    dark = bool(rng.integers(2))
    if panel:
        levels = rng.integers(0, 90, 3) if dark else rng.integers(190, 256, 3)
        ground = tuple(int(value) for value in levels)
        draw.rectangle([x - size, y - size, x + width + size, y + height + size], fill=ground)
    else:
        dark = (
            float(np.asarray(picture.crop((x, y, x + width, y + height)).convert("L")).mean()) < 128
        )
    colour = (250, 250, 250) if dark else (10, 10, 10)
    boxes = []
    for number, (text, (left, top, right, bottom)) in enumerate(zip(lines, inks, strict=True)):
        draw.text((x, y + number * step), text, font=face, fill=colour)
        boxes.append((x + left, y + number * step + top, right - left, bottom - top))
    return boxes


def covered(piece: Box, boxes: list[Box]) -> float:
    """Return how much of a box others cover together."""
    x, y, w, h = piece
    mask = np.zeros((h, w), bool)
    for left, top, wide, high in boxes:
        mask[
            max(0, top - y) : max(0, top + high - y), max(0, left - x) : max(0, left + wide - x)
        ] = True
    return float(mask.mean())


def recall(folder: Path, fonts: list[Path], mono: Path | None, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grounds = pictures(folder, n, rng)
    wanted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    kinds = ("card", "iban", "document", "id_number", "email", "phone")
    start, area = time.process_time(), 0
    for number, path in enumerate(grounds):
        picture = Image.fromarray(ImageFile.open(path).pixels()).resize(SIDES)
        kind, size = kinds[number % 6], SIZES[number // 6 % 3]
        panel = bool(number // 18 % 2)
        font = fonts[int(rng.integers(len(fonts)))] if fonts else None
        lines = invented(kind, rng)
        pieces = drawn(lines, size, mono if mono and len(lines) > 1 else font, picture, panel, rng)
        if not pieces:
            continue
        if number % 2:  # as it would be passed on
            from io import BytesIO

            out = BytesIO()
            picture.save(out, "JPEG", quality=85)
            picture = Image.open(out).convert("RGB")
        places = personal_places(np.asarray(picture))
        boxes = [item.box for item in places if item.kind == kind]
        hit = all(covered(piece, boxes) >= 0.9 for piece in pieces)
        where = "panel" if panel else "picture"
        for key in (f"{where} {size} px", f"{where} all", f"{where} {kind}"):
            wanted[key] += 1
            found[key] += hit
        if not hit:
            print("missed", where, size, kind, path.name, font and font.stem, flush=True)
        area += SIDES[0] * SIDES[1]
    for key in sorted(wanted):
        print(key, interval(found[key], wanted[key]))
    print(f"{(time.process_time() - start) / max(area, 1) * 1e6:.2f} CPU s a megapixel")


def pictures(folder: Path, n: int, rng: np.random.Generator) -> list[Path]:
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in SUFFIXES
    )
    chosen = [files[int(at)] for at in rng.permutation(len(files))]
    good: list[Path] = []
    for path in chosen:
        if len(good) == n:
            break
        try:
            ImageFile.open(path).pixels(64)
        except ImageError:
            continue
        good.append(path)
    return good


def alarms(folder: Path, n: int, seed: int) -> None:
    marked, seen = 0, 0
    start, area = time.process_time(), 0
    for path in pictures(folder, n, np.random.default_rng(seed)):
        pixels = ImageFile.open(path).pixels()
        places = personal_places(pixels)
        seen += 1
        area += pixels.shape[0] * pixels.shape[1]
        if places:
            marked += 1
            print("marked", path.name, [(item.kind, item.box) for item in places], flush=True)
    print("marked", interval(marked, seen))
    spent = time.process_time() - start
    print(f"{spent / max(area, 1) * 1e6:.2f} CPU s a megapixel, {area / 1e6:.0f} MP")


def main() -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("the reader asked for the network")

    socket.socket.connect = no_network  # type: ignore[method-assign]
    socket.getaddrinfo = no_network  # type: ignore[assignment]
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["recall", "alarms"])
    parser.add_argument("source", type=Path)
    parser.add_argument("--font", type=Path, action="append", default=[])
    parser.add_argument("--mono", type=Path, help="font of machine-readable zones")
    parser.add_argument("-n", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "recall":
        recall(args.source, args.font, args.mono, args.n, args.seed)
    else:
        alarms(args.source, args.n, args.seed)


if __name__ == "__main__":
    main()
