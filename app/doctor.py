"""`counterproof doctor`: what this installation can do, what it lacks, what is broken."""

import datetime as dt
import errno
import functools
import importlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from counterproof import __version__
from counterproof.app.options import format_option, language_option
from counterproof.errors import CounterproofError, UserError
from counterproof.settings import Settings, load_settings
from counterproof.text import Catalogue, catalogue

__all__ = ["Check", "State", "doctor", "examine_installation"]

SCHEMA = "counterproof.doctor/1"
STALE_DAYS = 180
"""Age from which an official trust list is called old: new signers join every few months."""

_DISTRIBUTION = "counterproof"
# Where a package is imported under another name than its own.
_MODULES = {
    "c2pa-python": "c2pa",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pi-heif": "pi_heif",
    "scikit-learn": "sklearn",
}
_HIDDEN_EXTRAS = ("dev",)
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:>=([\d.]+))?[^;]*(?:;\s*extra == ['\"](\w+)['\"])?")


class State(StrEnum):
    """How a thing stands."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the answer.

    Attributes:
        group: `library`, `extra`, `analyzer`, `trust`, `machine`.
        name: of the thing.
        state: `broken` where something that a scan needs does not work.
        value: a version, date, path or number.
        remark: a sentence in the user's language, or nothing.
    """

    group: str
    name: str
    state: State
    value: str
    remark: str = ""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@format_option("text", "json")
@language_option
def doctor(fmt: str, lang: str | None) -> None:
    """Check this installation: versions, extras, trust lists, folders.

    Ends with 0 unless something that a scan needs is broken. Asks nothing of the network.
    """
    settings = load_settings({"language": lang})
    words = catalogue(settings.language)
    checks = list(examine_installation(settings))
    broken = [check for check in checks if check.state is State.BROKEN]
    if fmt == "json":
        value = {
            "schema": SCHEMA,
            "version": __version__,
            "ok": not broken,
            "checks": [asdict(check) for check in checks],
        }
        click.echo(json.dumps(value, ensure_ascii=False, indent=1))
    else:
        for line in _page(checks, words):
            click.echo(line)
    if broken:
        names = words.ui("list.separator").join(check.name for check in broken)
        raise UserError(words.ui("doctor.broken", names=names))
    if fmt == "text":
        click.echo(f"\n{words.ui('doctor.fine')}")


def examine_installation(settings: Settings) -> Iterator[Check]:
    """Look at everything that a scan needs, and at what could be added."""
    words = catalogue(settings.language)
    yield from _libraries(words)
    yield from _extras(words)
    yield from _analyzers(settings, words)
    yield from _trust_lists(settings, words)
    yield from _machine(settings, words)


def _page(checks: list[Check], words: Catalogue) -> Iterator[str]:
    from counterproof.text import cell_width

    system = f"{platform.system()} {platform.machine()}"
    yield f"counterproof {__version__} · Python {platform.python_version()} · {system}"
    wide = max(cell_width(check.name) for check in checks)
    long = min(max((cell_width(c.value) for c in checks if c.remark), default=0), 24)
    group = ""
    for check in checks:
        if check.group != group:
            group = check.group
            yield f"\n{words.ui(f'doctor.group.{group}')}"
        left = " " * (wide - cell_width(check.name))
        middle = " " * max(0, long - cell_width(check.value)) if check.remark else ""
        mark = "" if check.state is State.OK else words.ui(f"doctor.state.{check.state}") + "  "
        yield f"  {check.name}{left}  {check.value}{middle}  {mark}{check.remark}".rstrip()


@functools.cache
def _requirements() -> tuple[tuple[str, str, str], ...]:
    """Return name, lowest version and extra of everything that the package asks for."""
    found = []
    for text in metadata.requires(_DISTRIBUTION) or []:
        if match := _REQUIREMENT.fullmatch(text.strip()):
            name, floor, extra = match.groups()
            found.append((name, floor or "", extra or ""))
    return tuple(found)


def _libraries(words: Catalogue) -> Iterator[Check]:
    python = platform.python_version()
    yield Check("library", "python", State.OK, python, sys.executable)
    for name, floor, extra in _requirements():
        if extra:
            continue
        try:
            version = metadata.version(name)
            module = importlib.import_module(_MODULES.get(name, name.replace("-", "_")))
        except Exception as err:  # a native library that does not load raises what it likes
            yield Check("library", name, State.BROKEN, "", _one_line(err))
            continue
        if _is_older(version, floor):
            remark = words.ui("doctor.older", floor=floor)
            yield Check("library", name, State.BROKEN, version, remark)
            continue
        inside = _INSIDE[name](module) if name in _INSIDE else ""
        yield Check("library", name, State.OK, version, inside)


def _c2pa_library(module: Any) -> str:
    return f"c2pa-rs {module.sdk_version()}"


def _pillow_formats(_: Any) -> str:
    from PIL import features

    names = ("jpg", "jpg_2000", "libtiff", "webp", "avif", "zlib", "littlecms2")
    versions = ((name, features.version(name)) for name in names if features.check(name))
    return " ".join(f"{name} {version}" for name, version in versions)


def _heif_library(module: Any) -> str:
    return f"libheif {module.libheif_version()}"


# What a package carries inside, which matters more than the package.
_INSIDE: dict[str, Callable[[Any], str]] = {
    "c2pa-python": _c2pa_library,
    "pi-heif": _heif_library,
    "pillow": _pillow_formats,
}


def _extras(words: Catalogue) -> Iterator[Check]:
    """Name what each optional install would bring and which of its packages are missing."""
    names: dict[str, list[str]] = {}
    for name, _, extra in _requirements():
        if extra and extra not in _HIDDEN_EXTRAS:
            names.setdefault(extra, []).append(name)
    for extra, packages in names.items():
        versions = {name: _version(name) for name in packages}
        missing = [name for name, version in versions.items() if not version]
        brings = words.ui(f"doctor.extra.{extra}")
        if missing:
            hint = words.ui("doctor.extra.install", brings=brings, extra=extra)
            value = words.ui("list.separator").join(missing)
            yield Check("extra", extra, State.MISSING, value, hint)
        else:
            value = " ".join(f"{name} {version}" for name, version in versions.items())
            yield Check("extra", extra, State.OK, value, brings)


def _analyzers(settings: Settings, words: Catalogue) -> Iterator[Check]:
    try:
        from counterproof.audit import registry

        factories = registry.available()
    except (CounterproofError, ImportError) as err:
        name = words.ui("doctor.group.analyzer")
        yield Check("analyzer", name, State.BROKEN, "", _one_line(err))
        return
    for name, factory in factories.items():
        try:
            analyzer = factory(settings)
            value = words.ui(f"profile.{analyzer.stage}")
            remark = words.ui("doctor.outside") if registry.is_outside(analyzer) else ""
            if extra := analyzer.missing():
                remark = words.ui("doctor.analyzer.extra", extra=extra)
            yield Check("analyzer", name, State.MISSING if extra else State.OK, value, remark)
        except Exception as err:  # an analyzer may be anybody's code
            yield Check("analyzer", name, State.BROKEN, "", _one_line(err))


def _trust_lists(settings: Settings, words: Catalogue) -> Iterator[Check]:
    try:
        from counterproof.provenance.trust import load_trust

        lists = load_trust(settings.home).lists
    except (CounterproofError, ImportError) as err:
        yield Check("trust", words.ui("doctor.lists"), State.BROKEN, "", _one_line(err))
        return
    for item in lists:
        days = item.age_days(settings.as_of)
        remark = words.ui("doctor.list", title=item.title, n=item.certificates, days=days)
        # The interim list is frozen and the user's own is the user's: age says nothing there.
        is_stale = item.trust == "official" and days > STALE_DAYS
        if is_stale:
            remark = f"{remark} {words.ui('doctor.stale')}"
        state = State.NOTE if is_stale else State.OK
        yield Check("trust", item.name, state, item.date.isoformat(), remark)


def _machine(settings: Settings, words: Catalogue) -> Iterator[Check]:
    home = settings.home
    problem = _write_problem(home)
    remark = problem and words.ui("doctor.home.unwritable", problem=problem)
    state = State.BROKEN if problem else State.OK
    yield Check("machine", words.ui("doctor.home"), state, str(home), remark)
    cases = list((home / "cases").glob("*.case")) if (home / "cases").is_dir() else []
    size = sum(path.stat().st_size for path in cases) / 1e6
    told = words.ui("doctor.cases.value", n=len(cases), megabytes=f"{size:,.1f}")
    yield Check("machine", words.ui("doctor.cases"), State.OK, told)
    free = shutil.disk_usage(_existing(home)).free / 1e9
    told = words.ui("doctor.disk.value", gigabytes=f"{free:,.1f}")
    low = free < 1
    state = State.NOTE if low else State.OK
    yield Check("machine", words.ui("doctor.disk"), state, told)
    yield Check("machine", words.ui("doctor.language"), State.OK, settings.language)
    today = dt.datetime.now(dt.UTC).date()
    state = State.NOTE if settings.as_of != today else State.OK
    yield Check("machine", words.ui("doctor.as_of"), state, settings.as_of.isoformat())
    if (root := Path(__file__).resolve().parents[1]).joinpath("pyproject.toml").is_file():
        folders = ("app", "audit", "detectors", "generators", "provenance")
        real = all((root / "counterproof" / name).is_symlink() for name in folders)
        remark = "" if real else words.ui("doctor.links.text")
        told = words.ui("doctor.links.real" if real else "doctor.links.none")
        state = State.OK if real else State.NOTE
        yield Check("machine", words.ui("doctor.links"), state, told, remark)


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _write_problem(folder: Path) -> str:
    """Say why a folder, or the one that it would be made in, cannot be written; else ''."""
    place = _existing(folder)
    if not place.is_dir():
        return f"{place}: {os.strerror(errno.ENOTDIR)}"
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as err:
        return f"{place}: {err.strerror}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _is_older(version: str, floor: str) -> bool:
    """Compare the numbers of two versions.

    >>> _is_older("0.9.1", "0.38"), _is_older("13.0.0", "12"), _is_older("12", "12")
    (True, False, False)
    """
    numbers = [[int(part) for part in re.findall(r"\d+", text)] for text in (version, floor)]
    return numbers[0] < numbers[1]


def _one_line(err: BaseException) -> str:
    return f"{type(err).__name__}: {' '.join(str(err).split())}"[:200]
