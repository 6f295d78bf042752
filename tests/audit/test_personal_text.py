"""Text that leads to a person: what counts, and what looks alike and does not."""

import pytest

from counterproof.audit.personal_text import find_personal_text, holds_iban, holds_luhn, zone_digit

ZONE = [
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
]
"""The specimen of ICAO Doc 9303 part 4, appendix A."""


def found(*rows: str) -> list[tuple[str, str]]:
    return [(i.kind, rows[i.row][i.start : i.end]) for i in find_personal_text(rows)]


@pytest.mark.parametrize(
    ("row", "kind", "text"),
    [
        ("card 4111 1111 1111 1111, thanks", "card", "4111 1111 1111 1111"),
        ("5500-0000-0000-0004 exp 12/27", "card", "5500-0000-0000-0004"),
        ("3782 822463 10005", "card", "3782 822463 10005"),
        ("411111111111l111", "card", "411111111111l111"),
        ("IBAN GB82 WEST 1234 5698 7654 32 BIC", "iban", "GB82 WEST 1234 5698 7654 32"),
        ("DE89 3704 0O44 0532 0130 00", "iban", "DE89 3704 0O44 0532 0130 00"),
        (ZONE[1], "document", ZONE[1]),
        ("L898902C36UTO74O8122F1204159ZE", "document", "L898902C36UTO74O8122F1204159ZE"),
        ("7408122F1204159UTO<<<<<<<<<<<6", "document", "7408122F1204159UTO<<<<<<<<<<<6"),
        ("公民身份号码 11010519491231002X", "id_number", "11010519491231002X"),
        ("write to jane.doe@example.org", "email", "jane.doe@example.org"),
        ("+49 89 1234567", "phone", "+49 89 1234567"),
        ("Tel. 030 1234567", "phone", "030 1234567"),
        ("(415) 555-2671", "phone", "(415) 555-2671"),
        ("电话：010-12345678", "phone", "010-12345678"),
        ("13800138000", "phone", "13800138000"),
        ("（415） 555-2671", "phone", "（415） 555-2671"),
        ("L898902C36UT07408122F1204159ZE", "document", "L898902C36UT07408122F1204159ZE"),
    ],
)
def test_what_counts(row: str, kind: str, text: str) -> None:
    assert found(row) == [(kind, text)]


@pytest.mark.parametrize(
    "row",
    [
        "4111 1111 1111 1112",  # check digit
        "4111 111 1111 11111",  # grouping
        "0000 0000 0000 0000",
        "GB82 WEST 1234 5698 7654 33",
        "L898902C37UTO7408122F1204159ZE184226B<<<<<10",
        "110105194912310021",
        "icon@2x.png",
        "ISBN 978-3-16-148410-0",
        "EAN 4006381333931",
        "12.03.2024 10:30:15",
        "IMEI 490154203237518",
        "-25% +10 000 points",
        "Lot 20240312-0042, 1.234.567,89",
        "Small solid biscuits",
        "192.168.100.200:8080",
    ],
)
def test_what_looks_alike(row: str) -> None:
    assert found(row) == []


def test_the_name_in_a_zone_is_found_with_it() -> None:
    assert {kind for kind, _ in found(*ZONE)} == {"document"}
    assert {text for _, text in found("Specimen", *ZONE)} == set(ZONE)
    assert found(ZONE[0]) == []


def test_check_digits_catch_every_single_error() -> None:
    for check, text in (
        (holds_luhn, "4539578763621486"),
        (holds_iban, "DE89370400440532013000"),
    ):
        assert check(text)
        for place in range(4 if text[0] == "D" else 0, len(text)):
            for digit in "0123456789":
                changed = text[:place] + digit + text[place + 1 :]
                assert check(changed) is (changed == text)
    assert zone_digit("ZE184226B<<<<<") == "1"


def test_long_rows_take_no_time() -> None:
    for part in ("1 ", "a@", "+1", "<", "DE12 ", "(1)", "1-"):
        find_personal_text([part * 20_000])
