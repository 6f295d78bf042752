"""Levels of one's own: where the detector accuses and clears, set on one's own photographs.

The bundled levels hold for photographs like those of its training set. `calibration` sets
others, `detectors calibrate` writes them to a file, and the setting `detector_levels` names
that file to a scan. At run time they are plain numbers.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterproof.errors import UserError

__all__ = ["OwnLevels", "as_metric", "load"]

KIND = "counterproof.detector-levels/1"


@dataclass(frozen=True, slots=True)
class OwnLevels:
    """Levels that a user set, and what they rest on.

    Attributes:
        model_sha256: of the model that they hold for, `Weights.version`.
        thresholds: as in the bundled card, those of small pictures begin with `small_`.
        accused_share: share of like photographs that may lie beyond the accusing level, 0 to 1.
        photographs: how many the accusing levels rest on, small ones included.
        machine_made: how many the clearing levels rest on; 0 if those are the card's.
        accused: of `held_out` photographs, those beyond levels set on other sources.
        held_out: photographs of sources that were held out in turn; 0 if there was one source.
        date: ISO 8601, of the calibration.
    """

    model_sha256: str
    thresholds: Mapping[str, float]
    accused_share: float
    photographs: int
    machine_made: int
    accused: int
    held_out: int
    date: str

    def save(self, path: Path) -> None:
        """Write them as JSON, under a temporary name first."""
        content = {"kind": KIND, **asdict(self)}
        partial = path.with_name(f"{path.name}.part")
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)


def load(path: Path, model_sha256: str, names: Mapping[str, float]) -> OwnLevels:
    """Read levels for the network in use.

    Args:
        path: what `OwnLevels.save` wrote.
        model_sha256: of the model in use.
        names: thresholds of its card, whose names the file must have.

    Raises:
        UserError: if the file is not one, or was written for another network.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("kind") != KIND:
            raise ValueError("another kind")
        made = OwnLevels(**content)
        values = {name: float(made.thresholds[name]) for name in names}
        if not all(np.isfinite(value) for value in values.values()):
            raise ValueError("a level is not a number")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise UserError(
            f"{path}: expected levels of `counterproof detectors calibrate`: {err!r}"
        ) from err
    if made.model_sha256 != model_sha256:
        raise UserError(
            f"{path}: these levels were set for another version of the detector; "
            "run `counterproof detectors calibrate` again"
        )
    return made


def as_metric(own: OwnLevels) -> dict[str, Any]:
    """Return what an accusation by these levels states of its error rate."""
    from counterproof.detectors.measures import wilson

    if not own.held_out:
        return {"own_levels": own.date, "accused_of_1000_intended": round(own.accused_share * 1000)}
    share = wilson(own.accused, own.held_out)
    return {
        "own_levels": own.date,
        "accused_of_1000": round(share.value * 1000),
        "accused_of_1000_at_most": round(share.high * 1000),
    }
