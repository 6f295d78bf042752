"""The analyzer: within its scope it answers, outside it says why not, and it never overstates."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterproof import weights
from counterproof.audit.verdict import decide
from counterproof.detectors import detector, scan
from counterproof.detectors.detector import Answer, again, judge, look, probability, reasons
from counterproof.detectors.features import MODEL, PARTS, WIDTH, families, parts
from counterproof.detectors.scope import UNTESTED
from counterproof.detectors.spectral_features import FAMILIES
from counterproof.detectors.tiles import MIN_SIDE
from counterproof.findings import Blob, Claim, Finding, Status
from counterproof.images import ImageFile
from counterproof.settings import Settings
from counterproof.weights import ModelCard
from tests.detectors.drawn import encoded, textured


def findings(data: bytes) -> list[Finding]:
    made = scan.DetectorAnalyzer(Settings(home=Path("unused")))
    image = ImageFile.open(data, name="picture")
    return [item for item in made.analyze(image) if isinstance(item, Finding)]


def scope_of(data: bytes) -> dict[str, object]:
    found = findings(data)
    assert [finding.code for finding in found][-1] == "detector.scope"
    return found[-1].details


def test_every_picture_is_told_what_was_never_tested() -> None:
    details = scope_of(encoded(textured(400, 600)))
    assert details["not_tested"] == list(UNTESTED)
    assert details["abstained"] is False
    assert isinstance(details["score"], float)


def test_small_pictures_are_not_judged() -> None:
    assert scope_of(encoded(textured(100, 300)))["reason"] == "small"


def test_pictures_without_colour_are_not_judged() -> None:
    grey = np.repeat(textured(300, 300)[:, :, :1], 3, axis=2)
    assert scope_of(encoded(grey, "PNG"))["reason"] == "grey"
    sixteen = Image.fromarray(textured(300, 300)[:, :, 0].astype(np.uint16) * 256)
    file = io.BytesIO()
    sixteen.save(file, "PNG")
    assert scope_of(file.getvalue())["reason"] == "grey"


def test_graphics_are_not_judged() -> None:
    graphic = np.full((400, 400, 3), 250, np.uint8)
    graphic[50:90, 40:360] = (180, 40, 40)
    graphic[200:380, 100:130] = (40, 60, 190)
    assert scope_of(encoded(graphic, "PNG"))["reason"] == "graphic"


def test_animations_are_not_judged() -> None:
    frames = [Image.fromarray(textured(200, 200, seed)) for seed in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    assert scope_of(file.getvalue())["reason"] == "animated"


def test_ruined_pictures_are_not_judged() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    assert scope_of(encoded(noise, quality=20))["reason"] == "compressed"


def with_levels(limits: dict[str, float]) -> ModelCard:
    """Return the bundled card with other levels, for pictures of many and of few tiles."""
    card = weights.open(MODEL).card
    small = {f"small_{name}": value for name, value in limits.items()}
    return replace(card, thresholds={**card.thresholds, **limits, **small})


@pytest.mark.parametrize(
    ("limits", "answer"),
    [
        ({"accuse": -99.0, "keep": -99.0, "clear": -100.0}, Answer.ACCUSED),
        ({"accuse": -99.0, "keep": 99.0, "clear": -100.0}, Answer.UNSTABLE),
        ({"accuse": 99.0, "keep": 99.0, "clear": -99.0}, Answer.UNDECIDED),
        ({"accuse": 99.0, "keep": 99.0, "clear": 98.0}, Answer.CLEARED),
    ],
)
def test_levels_lead_to_answers_and_statuses(
    limits: dict[str, float], answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights.open(MODEL), "card", with_levels(limits))
    picture = textured(300, 400)
    assert judge(picture).answer is answer
    found = findings(encoded(picture, "PNG"))
    status = decide(found).status
    expected = {Answer.ACCUSED: Status.SYNTHETIC_SUSPECTED, Answer.UNSTABLE: Status.INCONCLUSIVE}
    assert status is expected.get(answer, Status.NO_EVIDENCE)
    accusing = [finding for finding in found if finding.claim is Claim.SYNTHETIC]
    assert len(accusing) == (answer in expected)
    if answer is Answer.ACCUSED:
        assert accusing[0].probability is not None
        assert len(accusing[0].details["looks"]) == 6


def test_an_accusation_comes_with_its_map_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"accuse": -99.0, "keep": -99.0, "clear": -100.0}
    monkeypatch.setattr(weights.open(MODEL), "card", with_levels(limits))
    made = scan.DetectorAnalyzer(Settings(home=Path("unused")))
    image = ImageFile.open(encoded(textured(600, 900)), name="picture")
    seen = list(made.analyze(image))
    blobs = [item for item in seen if isinstance(item, Blob)]
    with Image.open(io.BytesIO(blobs[0].data)) as drawn:
        assert drawn.size == (512, 341)
    (accusing,) = (
        item for item in seen if isinstance(item, Finding) and item.claim is Claim.SYNTHETIC
    )
    assert set(accusing.details["goes_by"]) <= {*PARTS, *FAMILIES}
    assert accusing.details["strongest_at"] in ("full", "half")


def test_parts_and_families_sum_to_the_score_but_for_a_usual_picture() -> None:
    rest = []
    for seed in (1, 2, 3):
        seen = look(textured(300, 300, seed))
        rest.append(seen.score - parts(seen.features).sum() - sum(seen.families.values()))
    assert np.ptp(rest) == pytest.approx(0, abs=0.01)


def test_reasons_are_what_speaks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    adds = np.array([0.5, 3.0, -2.0, 1.5, 0.0], np.float32)
    families = {"colours": 2.0, "blocks": -1.0}
    monkeypatch.setattr(detector, "parts", lambda features: adds)
    monkeypatch.setattr(detector, "families", lambda pixels: (0.0, families))
    opinion = judge(textured(300, 300))
    assert reasons(opinion) == ["texture", "colours", "shapes"]
    adds[:] = -1
    families["colours"] = 0.0
    assert reasons(opinion) == []


def test_the_bundled_models_give_what_they_gave() -> None:
    """Golden values of the bundled weights; they change only with a new version of the card."""
    picture = textured(300, 300)
    seen = look(picture)
    assert seen.features.shape == (4, WIDTH)
    assert pytest.approx(seen.logits.tolist(), abs=0.02) == GOLDEN
    assert families(picture)[0] == pytest.approx(GOLDEN_ADDED, abs=0.02)


GOLDEN = [-3.2813, -2.962, -2.5547, -2.4081]
GOLDEN_ADDED = -0.6737


def test_looks_are_the_same_at_every_call_and_large_enough() -> None:
    picture = textured(140, 400)
    first, second = again(picture), again(picture)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(min(view.shape[:2]) >= MIN_SIDE for view in first)


def test_probability_rises_with_the_score() -> None:
    limits = weights.open(MODEL).card.thresholds
    chances = [probability(value, limits) for value in (-3.0, 0.0, 3.0)]
    assert chances == sorted(chances)
    assert 0 < chances[0] < chances[-1] < 1


def test_the_card_orders_its_levels() -> None:
    limits = weights.open(MODEL).card.thresholds
    assert limits["clear"] < limits["keep"] <= limits["accuse"]
