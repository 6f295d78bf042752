"""Shows an evaluation: a table for the terminal, one HTML page with its plots."""

from html import escape

import numpy as np

from counterproof.detectors.evaluation import Evaluation, Treated
from counterproof.detectors.measures import LEAST
from counterproof.detectors.nuisances import FOREST

__all__ = ["page", "table"]

_SIDE = 260
_COLUMNS = (
    "delivery",
    "photographs",
    "machine-made",
    "AUC, mean of sources [95 %]",
    "strongest baseline without content",
    "AUC, pooled",
    "average precision",
    "TPR at 1 % FPR",
    "TPR at 5 % FPR",
    "balanced accuracy",
    "calibration error",
    "photographs accused [95 %]",
    "answered",
)


def table(found: Evaluation) -> str:
    """Return the headline figures as text, one delivery a line."""
    lines = [
        f"{found.scorer}: area under the ROC curve, mean over sources of machine-made pictures"
    ]
    for row in found.treated:
        accused = "" if row.accused is None else f"   photographs accused {row.accused}"
        lines.append(
            f"  {row.treatment:<14} {row.source_area}   TPR at 5 % FPR {row.found_at_5:.3f}   "
            f"n {row.photographs} + {row.machine_made}{accused}"
        )
        lines.append(f"  {'':<14} without content: {_baselines(row.nuisances)}")
    lines.append("without content, of the files as they were found:")
    lines += [f"  {name:<22} {_number(value)}" for name, value in found.nuisances.items()]
    if FOREST not in found.nuisances:
        lines.append(f"  {FOREST:<22} not made: needs the extra [train] and two sources a class")
    if any(not row.areas for row in found.treated):
        lines.append(f"areas over all pictures: no source has {LEAST} machine-made pictures")
    lines += [f"skipped: {text}" for text in found.skipped]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _baselines(areas: dict[str, float]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in areas.items())


def _strongest(areas: dict[str, float]) -> str:
    name = max(areas, key=lambda name: areas[name], default="")
    return f"{_number(areas[name])}, {name}" if name else ""


def page(found: Evaluation) -> str:
    """Return the evaluation as one HTML page that opens offline."""
    head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
    rows = "".join(f"<tr>{_cells(row)}</tr>" for row in found.treated)
    baselines = "".join(
        f"<tr><td>{escape(name)}</td><td>{_number(value)}</td></tr>"
        for name, value in found.nuisances.items()
    )
    first = found.treated[0]
    sources, generators = _areas(first.areas), _areas(first.areas_by_generator)
    by_source = (
        f"<h2>By source of machine-made pictures</h2><table>{sources}</table>"
        if sources
        else f"<p>Areas are over all pictures: no source has {LEAST} machine-made ones.</p>"
    )
    by_generator = f"<h2>By generator</h2><table>{generators}</table>" if generators else ""
    accused = "".join(
        f"<tr><td>{escape(name)}</td><td>{_bar(share.value)}</td><td>{escape(str(share))}</td></tr>"
        for name, share in sorted(first.accused_by_source.items(), key=lambda item: -item[1].value)
    )
    by_photographs = (
        f"<h2>Photographs accused, by source</h2><table>{accused}</table>" if accused else ""
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Evaluation of {escape(found.scorer)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem;
  color-scheme: light dark; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
td, th {{ padding: .3rem .5rem; text-align: left; border-bottom: 1px solid #8884; }}
th {{ font-size: .85rem; }}
figure {{ display: inline-block; width: {_SIDE}px; margin: 1rem 1rem 1rem 0; vertical-align: top; }}
svg {{ width: {_SIDE}px; height: {_SIDE}px; overflow: visible; }}
.bar {{ display: inline-block; height: .7rem; background: #4a7ba6; }}
</style></head><body>
<h1>Evaluation of {escape(found.scorer)}</h1>
<p>A score says how far two collections differ under one delivery. It never says of one picture
that a camera made it. Intervals resample whole sources.</p>
<table><tr>{head}</tr>{rows}</table>
<h2>Plots, first delivery</h2>
{_roc(found)}{_reliability(first)}{_risk(first)}{_histogram(found)}
<h2>What no content tells</h2>
<p>Area of baselines that see only size, compression or sharpness of the files as they were found;
the forest joins them and is asked only of sources that it was not trained on. The table above
names the strongest that saw the same view as the scorer. A score that does not beat them is not
evidence.</p>
<table>{baselines}</table>
{by_source}{by_generator}{by_photographs}
</body></html>
"""


def _areas(areas: dict[str, float]) -> str:
    return "".join(
        f"<tr><td>{escape(name)}</td><td>{_bar(value)}</td><td>{value:.3f}</td></tr>"
        for name, value in sorted(areas.items(), key=lambda item: item[1])
    )


def _cells(row: Treated) -> str:
    values = (
        row.treatment,
        str(row.photographs),
        str(row.machine_made),
        str(row.source_area),
        _strongest(row.nuisances),
        _number(row.pooled_area),
        _number(row.average_precision),
        _number(row.found_at_1),
        _number(row.found_at_5),
        _number(row.balanced_accuracy),
        _number(row.calibration_error),
        "" if row.accused is None else str(row.accused),
        _number(row.answered),
    )
    return "".join(f"<td>{escape(value)}</td>" for value in values)


def _bar(share: float) -> str:
    return f'<span class="bar" style="width:{max(0.0, min(1.0, share)) * 12:.2f}rem"></span>'


def _arrays(found: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([label for label, _ in found.scores], bool)
    scores = np.array([score for _, score in found.scores])
    seen = np.isfinite(scores)
    return labels[seen], scores[seen]


def _figure(
    title: str, across: str, upward: str, points: list[tuple[float, float]], diagonal: bool = False
) -> str:
    """Draw one line in a unit square; the diagonal is where a scorer tells or errs nothing."""
    line = f'<path d="M0 {_SIDE}L{_SIDE} 0" stroke="#8888" stroke-dasharray="4"/>' * diagonal
    path = " ".join(f"{x * _SIDE:.1f},{(1 - y) * _SIDE:.1f}" for x, y in points)
    return (
        f'<figure><svg role="img" aria-label="{escape(title)}" viewBox="0 0 {_SIDE} {_SIDE}">'
        f'<rect width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#8888"/>{line}'
        f'<polyline points="{path}" fill="none" stroke="#4a7ba6" stroke-width="2"/></svg>'
        f"<figcaption>{escape(title)}<br>across: {escape(across)}, 0 to 1; "
        f"up: {escape(upward)}, 0 to 1</figcaption></figure>"
    )


def _roc(found: Evaluation) -> str:
    labels, scores = _arrays(found)
    levels = np.quantile(scores, np.linspace(1, 0, 101))
    points = [
        (float((scores[~labels] > level).mean()), float((scores[labels] > level).mean()))
        for level in levels
    ]
    return _figure("ROC", "photographs accused", "machine-made found", [*points, (1, 1)], True)


def _reliability(row: Treated) -> str:
    """Draw what was seen against what was stated; nothing for a scorer without probabilities."""
    if not row.reliability:
        return ""
    points = [(bin_.stated, bin_.seen) for bin_ in row.reliability]
    return _figure("Reliability", "probability stated", "share that was machine-made", points, True)


def _risk(row: Treated) -> str:
    """Draw the error of the surest answers against how many are answered."""
    points = [((turn + 1) / 10, error) for turn, error in enumerate(row.error_when_answering)]
    return _figure("Risk and coverage", "share answered, surest first", "error", points)


def _histogram(found: Evaluation) -> str:
    labels, scores = _arrays(found)
    low, high = np.quantile(scores, (0.005, 0.995))
    edges = np.linspace(low, high + 1e-9, 25)
    parts = []
    for label, colour in ((False, "#4a7ba6"), (True, "#c47a14")):
        counts, _ = np.histogram(scores[labels == label], edges)
        heights = counts / max(1, counts.max())
        step = _SIDE / len(heights)
        points = " ".join(
            f"{i * step:.1f},{(1 - h) * _SIDE:.1f} {(i + 1) * step:.1f},{(1 - h) * _SIDE:.1f}"
            for i, h in enumerate(heights)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
    return (
        f'<figure><svg role="img" aria-label="Scores" viewBox="0 0 {_SIDE} {_SIDE}">'
        f"{''.join(parts)}</svg><figcaption>Scores from {low:.1f} to {high:.1f}, each class to its "
        "own height<br>blue: photographs; amber: machine-made</figcaption></figure>"
    )
