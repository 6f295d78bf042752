"""Settings: one frozen object, passed down.

Flags come before environment variables (`COUNTERPROOF_…`), those before a file
(`counterproof.toml`, or `[tool.counterproof]` in `pyproject.toml`), that before defaults.
"""

import dataclasses
import datetime as dt
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from counterproof.errors import UserError

__all__ = ["Limits", "Settings", "default_home", "load_settings"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one untrusted picture may cost.

    Attributes:
        max_bytes: largest file that is read.
        max_pixels: largest picture, width × height, that is decoded.
        max_frames: most frames or pages that are counted.
        max_block_bytes: largest metadata block after decompression.
        max_decode_bytes: most memory that one decode may take, the file included.
    """

    max_bytes: int = 512 * 2**20
    max_pixels: int = 250_000_000
    max_frames: int = 1_000
    max_block_bytes: int = 16 * 2**20
    max_decode_bytes: int = 800 * 2**20


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run may read, and how.

    Attributes:
        home: folder with keys, stores, trust lists and unnamed cases.
        language: of text for people, `en` or `zh`.
        as_of: the day that "today" means.
        online: whether remote manifests and OCSP may be fetched; nothing leaves without it.
        limits: what one untrusted picture may cost.
        keys: names of key files to read private watermarks with.
        stores: manifest stores to recover credentials from.
        indices: indices of reference works to compare with.
        detector_levels: levels that `counterproof detectors calibrate` set on own photographs.
    """

    home: Path
    language: str = "en"
    as_of: dt.date = field(default_factory=lambda: dt.datetime.now(dt.UTC).date())
    online: bool = False
    limits: Limits = Limits()
    keys: tuple[Path, ...] = ()
    stores: tuple[Path, ...] = ()
    indices: tuple[Path, ...] = ()
    detector_levels: Path | None = None


_PATHS = ("keys", "stores", "indices")
_KNOWN = {item.name for item in dataclasses.fields(Settings)}


def default_home() -> Path:
    """Return `COUNTERPROOF_HOME`, or the folder that the system gives to a user's data."""
    if named := os.environ.get("COUNTERPROOF_HOME"):
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("counterproof", appauthor=False))


def load_settings(
    overrides: Mapping[str, Any] | None = None,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Join flags, environment, file and defaults into one object.

    Args:
        overrides: values of flags; None means that the flag was not given.
        folder: where to look for a settings file; the working folder by default.
        environment: the process's by default.

    Raises:
        UserError: if a name is unknown or a value is not of its kind.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = _from_file(folder or Path.cwd())
    for name in _KNOWN - {"limits", *_PATHS}:
        if (text := environment.get(f"COUNTERPROOF_{name.upper()}")) is not None:
            values[name] = text
    values |= {name: value for name, value in (overrides or {}).items() if value is not None}
    values.setdefault("home", default_home())
    if "language" not in values:
        locale = environment.get("LC_ALL") or environment.get("LANG") or ""
        values["language"] = "zh" if locale.lower().startswith("zh") else "en"
    return _build(values)


def _from_file(folder: Path) -> dict[str, Any]:
    own, shared = folder / "counterproof.toml", folder / "pyproject.toml"
    for path in (own, shared):
        if not path.is_file():
            continue
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
            if path == shared:
                continue  # somebody else's file; only ours must be right
            raise UserError(f"{path}: expected a TOML file: {err}") from err
        found = table if path == own else table.get("tool", {}).get("counterproof")
        if found is not None:
            return dict(found)
    return {}


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as err:
        raise UserError(f"as-of {text}: expected a day, YYYY-MM-DD") from err


def _build(values: dict[str, Any]) -> Settings:
    if unknown := sorted(set(values) - _KNOWN):
        raise UserError(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    try:
        values["home"] = Path(values["home"]).expanduser()
        for name in _PATHS:
            values[name] = tuple(Path(item).expanduser() for item in values.get(name, ()))
        if (named := values.get("detector_levels")) is not None:
            values["detector_levels"] = Path(named).expanduser()
        if isinstance(day := values.get("as_of"), str):
            values["as_of"] = _day(day)
        if isinstance(text := values.get("online"), str):
            values["online"] = text.lower() in ("1", "true", "yes", "on")
        if isinstance(limits := values.get("limits"), dict):
            values["limits"] = Limits(**limits)
    except (TypeError, ValueError) as err:
        raise UserError(f"bad setting: {err}") from err
    if values["language"] not in ("en", "zh"):
        raise UserError(f"expected language 'en' or 'zh', got {values['language']!r}")
    return Settings(**values)
