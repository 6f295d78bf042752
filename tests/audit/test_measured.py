"""The published counts: what stands in the page of figures stands in reports too."""

from pathlib import Path

from counterproof.audit.forgery import WORTH
from counterproof.audit.measured import MEASURED, Measured, rate, thresholds

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def test_each_count_stands_in_the_page_of_figures() -> None:
    text = PAGE.read_text(encoding="utf-8").replace(",", "")
    missing = [item for item in MEASURED if f"{item.hits} of {item.n}" not in text]
    assert missing == []


def test_each_code_has_a_level_and_both_kinds_of_count() -> None:
    codes = {item.code for item in MEASURED}
    assert codes - {"forgery.metadata"} == set(thresholds())
    assert all(rate(code, kind) for code in codes for kind in ("accused", "found"))
    assert len({(item.code, item.kind) for item in MEASURED}) == len(MEASURED)
    assert {f"forgery.{name}" for name, worth in WORTH.items() if worth.counts} <= codes


def test_intervals() -> None:
    """Clopper and Pearson's, as published tables have them."""
    none = Measured("forgery.grid", "accused", 0, 300, "", "")
    assert (none.low, none.high) == (0.0, 0.0122)
    some = Measured("forgery.grid", "found", 15, 17, "", "")
    assert (some.low, some.high) == (0.6356, 0.9854)
    every = Measured("forgery.grid", "found", 29, 29, "", "")
    assert (every.low, every.high) == (0.8806, 1.0)
