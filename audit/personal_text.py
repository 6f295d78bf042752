"""Tell text that leads to a person from other text: cards, accounts, documents, addresses.

What has check digits counts only if they hold: payment cards (Luhn), bank accounts (IBAN),
machine-readable zones of passports, identity cards and visas, Chinese identity numbers. E-mail
addresses and telephone numbers have none; they count in forms that other text seldom takes.

The text comes from a reader of pictures, which takes O for 0 and l for 1: numbers are tried as
read, then with such letters as digits.

Sources: ISO/IEC 7812-1 annex B (Luhn) and the issuers' published ranges; ISO 13616-1 with the IBAN
registry (lengths); ICAO Doc 9303 parts 3 to 7 (zones); GB 11643-1999 with ISO 7064 MOD 11-2;
ITU-T E.164 (a telephone number has at most 15 digits).
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["KINDS", "PersonalText", "find_personal_text", "holds_iban", "holds_luhn", "zone_digit"]

KINDS = ("card", "iban", "document", "id_number", "email", "phone")
"""What is told apart; the first four have check digits."""

_AS_DIGITS = str.maketrans("OoQDIl|SsBZz", "000011155822")
_NARROW = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_D = r"[\dOoQDIl|SsBZz]"  # a digit, or a letter that readers take it for

_CARD = re.compile(rf"(?<![\w.,/+-]){_D}(?:[ -]?{_D}){{12,18}}(?![\w/]|[.,]\d)")
_CARD_CUTS = (frozenset({4, 8, 12, 16}), frozenset({4, 10}))  # where groups of digits may end
_CARD_STARTS = re.compile(
    r"4(\d{12}|\d{15}|\d{18})|(5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}"
    r"|(6011|6[245]\d\d)\d{12,15}"
)

_IBAN = re.compile(rf"(?<![A-Za-z0-9])[A-Z]{{2}} ?{_D}{{2}}(?: ?[A-Za-z0-9|]){{11,30}}")
_IBAN_LENGTHS = {
    **dict.fromkeys(["NO"], 15),
    **dict.fromkeys(["BE"], 16),
    **dict.fromkeys(["DK", "FI", "FO", "GL", "NL", "SD"], 18),
    **dict.fromkeys(["MK", "SI"], 19),
    **dict.fromkeys(["AT", "BA", "EE", "KZ", "LT", "LU", "XK"], 20),
    **dict.fromkeys(["CH", "HR", "LI", "LV"], 21),
    **dict.fromkeys(["BG", "BH", "CR", "DE", "GB", "GE", "IE", "ME", "RS", "VA"], 22),
    **dict.fromkeys(["AE", "GI", "IL", "IQ", "TL"], 23),
    **dict.fromkeys(["AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"], 24),
    **dict.fromkeys(["LY", "PT", "ST"], 25),
    **dict.fromkeys(["IS", "TR"], 26),
    **dict.fromkeys(["FR", "GR", "IT", "MC", "MR", "SM"], 27),
    **dict.fromkeys(["AL", "AZ", "BY", "CY", "DO", "GT", "HU", "LB", "PL"], 28),
    **dict.fromkeys(["BR", "EG", "PS", "QA", "UA"], 29),
    **dict.fromkeys(["JO", "KW", "MU"], 30),
    **dict.fromkeys(["MT", "SC"], 31),
    **dict.fromkeys(["LC"], 32),
}

# A reader may take the filler for a bracket, and counts long rows of it badly.
_FILLERS = str.maketrans({"«": "<<", "《": "<<", "‹": "<", "〈": "<", "く": "<", " ": ""})
_ZONE = re.compile(  # second line of passports, visas and two-line cards
    rf"([A-Z0-9<]{{9}})({_D})([A-Z0<]{{3}})({_D}{{6}})({_D})[MFX<]({_D}{{6}})({_D})"
)
_CARD_ZONE = re.compile(rf"({_D}{{6}})({_D})[MFX<]({_D}{{6}})({_D})[A-Z0]{{1,3}}<")  # three lines
_ZONE_LIKE = re.compile(r"[A-Z0-9<]{5,}<<[A-Z0-9<]*|[ACIPV][A-Z<][A-Z0<]{3}[A-Z0-9<]{10,}")

_ID_NUMBER = re.compile(r"(?<![\dA-Za-z])([1-9]\d{5})((?:19|20)\d\d)(\d\d)(\d\d)\d{3}[\dXx](?!\w)")

_EMAIL = re.compile(
    r"[A-Za-z0-9][\w.+-]{0,63} ?@ ?(?:[A-Za-z0-9-]{1,63}\.){1,5}([A-Za-z]{2,24})(?![\w@])"
)
_NO_DOMAINS = frozenset({"png", "jpg", "jpeg", "gif", "webp", "svg", "heic", "js", "css"})

_NUMBER = r"\(?\d{1,5}\)?(?:[ ./-]{0,2}\(?\d{1,5}\)?){1,6}"
_PHONES = (
    re.compile(rf"(?<![\w+])(\+ ?[1-9]{_NUMBER})(?![\d%])"),
    re.compile(
        r"(?i)(?:\b(?:tel|telephone|phone|mobile|mob|cell|fax|whatsapp|call(?: us)?)|电话|手机|热线"
        rf"|传真)\W{{0,3}}(?:no\W{{0,2}})?({_NUMBER})(?![\d%])"
    ),
    re.compile(r"(?<![\d(+.-])(\(\d{3}\) ?\d{3}[-. ]\d{4}|\d{3}([-.])\d{3}\2\d{4})(?![\d.-])"),
    re.compile(r"(?<![\d+.,-])(1[3-9]\d([ -]?)\d{4}\2\d{4})(?![\d.,-])"),  # mobile, mainland China
)


@dataclass(frozen=True, slots=True)
class PersonalText:
    """One piece of text that leads to a person.

    Attributes:
        kind: one of `KINDS`.
        row: number of the row that holds it.
        start: its first character in the row.
        end: behind its last character.
    """

    kind: str
    row: int
    start: int
    end: int


def find_personal_text(rows: Sequence[str]) -> list[PersonalText]:
    """Find what leads to a person in rows of text, each piece once.

    Args:
        rows: from top to bottom, each read from left to right.
    """
    found: list[PersonalText] = []
    rows = [row.translate(_NARROW) for row in rows]
    for number, row in enumerate(rows):
        taken: list[tuple[int, int]] = []
        for kind, start, end in _pieces(row):
            if all(end <= first or last <= start for first, last in taken):
                taken.append((start, end))
                found.append(PersonalText(kind, number, start, end))
    if any(item.kind == "document" for item in found):
        # the other lines of a zone hold the name, and nothing to check them by
        known = {item.row for item in found if item.kind == "document"}
        for number, row in enumerate(rows):
            if number not in known and _ZONE_LIKE.fullmatch(_zone_text(row)):
                found.append(PersonalText("document", number, 0, len(row)))
    return found


def holds_luhn(digits: str) -> bool:
    """Tell whether the last digit fits the others.

    >>> holds_luhn("79927398713"), holds_luhn("79927398710")
    (True, False)
    """
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def holds_iban(text: str) -> bool:
    """Tell whether a text without spaces has the length of its country and its check digits hold.

    >>> holds_iban("GB82WEST12345698765432"), holds_iban("GB82WEST12345698765433")
    (True, False)
    """
    if len(text) != _IBAN_LENGTHS.get(text[:2]) or not text[2:4].isdigit():
        return False
    moved = text[4:] + text[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def zone_digit(field: str) -> str:
    """Return the check digit of a field of a machine-readable zone.

    >>> zone_digit("L898902C3"), zone_digit("740812")
    ('6', '2')
    """
    values = (0 if char == "<" else int(char, 36) for char in field)
    return str(sum(value * (7, 3, 1)[place % 3] for place, value in enumerate(values)) % 10)


def _pieces(row: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind and span, what is surest first."""
    if _is_zone(_zone_text(row)):
        yield "document", 0, len(row)
    for match in _ID_NUMBER.finditer(row):
        if 1 <= int(match[3]) <= 12 and 1 <= int(match[4]) <= 31 and _holds_id(match[0]):
            yield "id_number", *match.span()
    for match in _IBAN.finditer(row):
        if end := _iban_end(match[0]):
            yield "iban", match.start(), match.start() + end
    for match in _CARD.finditer(row):
        if _is_card(match[0]):
            yield "card", *match.span()
    for match in _EMAIL.finditer(row):
        if match[1].lower() not in _NO_DOMAINS:
            yield "email", *match.span()
    for pattern in _PHONES:
        for match in pattern.finditer(row):
            if 7 <= sum(char.isdigit() for char in match[1]) <= 15:
                yield "phone", *match.span(1)


def _is_card(text: str) -> bool:
    """Tell whether a run of digits is a card's: issuer, length, grouping and check digit."""
    if sum(char.isdigit() for char in text) < 10:
        return False  # mostly letters: a word
    groups = [part.translate(_AS_DIGITS) for part in re.split("[ -]", text)]
    digits = "".join(groups)
    ends = set(itertools.accumulate(map(len, groups[:-1])))  # readers drop spaces, and add none
    if not any(ends <= cuts for cuts in _CARD_CUTS):
        return False
    varied = len(set(digits)) > 1  # rows of one digit stand in patterns and on scales
    return varied and bool(_CARD_STARTS.fullmatch(digits)) and holds_luhn(digits)


def _iban_end(text: str) -> int:
    """Return where an account number ends in a text that begins like one; 0 if it is none."""
    wanted = _IBAN_LENGTHS.get(text[:2], 0)
    seen = 0
    for at, char in enumerate(text):
        seen += char != " "
        if seen == wanted:
            plain = text[: at + 1].replace(" ", "")
            rest = plain[2:]
            tries = (
                plain,
                plain[:2] + rest[:2].translate(_AS_DIGITS) + rest[2:],
                plain[:2] + rest.translate(_AS_DIGITS),
            )
            following = text[at + 1 : at + 2]
            good = any(item.isalnum() and item.isupper() and holds_iban(item) for item in tries)
            return at + 1 if good and following in ("", " ") else 0
    return 0


def _holds_id(text: str) -> bool:
    total = sum(int(char) * (2 ** (17 - place) % 11) for place, char in enumerate(text[:17]))
    return "10X98765432"[total % 11] == text[17].upper()


def _zone_text(row: str) -> str:
    return row.upper().translate(_FILLERS)


def _is_zone(text: str) -> bool:
    """Tell whether a row holds dates and numbers of a machine-readable zone that check out."""
    for match in _ZONE.finditer(text):
        number, birth, expiry = match[1], match[4], match[6]
        digits = [match[place].translate(_AS_DIGITS) for place in (2, 5, 7)]
        dates = [item.translate(_AS_DIGITS) for item in (birth, expiry)]
        fits = [zone_digit(item) == digit for item, digit in zip(dates, digits[1:], strict=True)]
        numbers = (number, number.replace("O", "0"))
        if all(fits) and any(zone_digit(item) == digits[0] for item in numbers):
            return True
    for match in _CARD_ZONE.finditer(text):
        dates = [match[place].translate(_AS_DIGITS) for place in (1, 3)]
        digits = [match[place].translate(_AS_DIGITS) for place in (2, 4)]
        fits = [zone_digit(item) == digit for item, digit in zip(dates, digits, strict=True)]
        if all(fits) and all(1 <= int(item[2:4]) <= 12 and int(item[4:]) <= 31 for item in dates):
            return True
    return False
