"""Check the licences of what an install brings: packages, libraries in them, weights.

    python checks/licences.py [--list] [--extras privacy,scale,…]

Walks the requirements of counterproof, and of the extras that are named, among the installed
packages and checks

1. the licence that each package declares;
2. each shared library that a wheel bundles, against a table reviewed by hand;
3. the bytes of every binary for marks that GPL codecs leave in them, since a static library
   has no name;
4. the licences of our own weights and of the pictures they were trained on.

GPL and AGPL fail, LGPL passes (the libraries are replaceable files), unknown fails: look the
licence up and add a line that says why. Exit code 0, or 1 with one line per problem.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]

ALLOWED = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "FTL"),
        *("HPND", "IJG", "ISC", "MIT", "MIT-0", "MIT-CMU", "MIT-Modern-Variant", "MPL-2.0"),
        *("OpenSSL", "PSF-2.0", "Unlicense", "Zlib", "libpng-2.0", "libtiff"),
        *("LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"),
        "Apache-2.0 WITH LLVM-exception",
    }
)
# Share-alike binds whoever passes on the pictures; no picture, and no part of one, is in weights.
ALLOWED_FOR_DATA = ALLOWED | {"CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-PDDC"}
# Under this exception a program that uses the library is not bound by the GPL.
GCC = "GPL-3.0-or-later WITH GCC-exception-3.1"

# Ways in which packages without an SPDX expression name their licence.
SPELLINGS = {
    "2-clause bsd license": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd-3-clause": "BSD-3-Clause",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
}

# Words that name no licence; a package that says nothing better must be reviewed.
VAGUE = ("", "BSD License", "OSI Approved")

# Packages whose metadata is silent, vague or contradicts itself: licence, and why we say so.
REVIEWED_PACKAGES = {
    "exifread": ("BSD-3-Clause", "no metadata; LICENSE in the wheel"),
    "iso4217": ("Unlicense", "public domain, says its metadata; the Unlicense says the same"),
    "jinja2": ("BSD-3-Clause", "classifier says BSD; three clauses in LICENSE.txt"),
    "numba": ("BSD-2-Clause", "metadata says BSD; two clauses in LICENSE"),
    "numpy": (
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "the expression is of the code; bundled libraries are checked below",
    ),
    "omegaconf": ("BSD-3-Clause", "classifier says BSD; three clauses in LICENSE, and in antlr4's"),
    "pebble": ("LGPL-3.0-or-later", "metadata says LGPL; LICENSE is the LGPL 3; pure Python"),
    "pi-heif": (
        "BSD-3-Clause AND LGPL-3.0-or-later",
        "own code BSD; bundles libheif and libde265 as replaceable LGPL libraries, no libx265",
    ),
    "pyasn1-alt-modules": ("BSD-2-Clause", "metadata says BSD; two clauses in LICENSE.txt"),
    "scipy": ("BSD-3-Clause", "LICENSE.txt; the licence text stands in the License field"),
}

# Shared libraries inside wheels, by name without prefix, hash and version.
REVIEWED_LIBRARIES = {
    "Xau": ("MIT", "libXau COPYING"),
    "aom": ("BSD-2-Clause", "libaom LICENSE"),
    **{
        f"arrow{part}": ("Apache-2.0", "Apache Arrow LICENSE.txt, with those of what it links")
        for part in (
            *("", "_acero", "_compute", "_dataset", "_flight", "_python", "_python_flight"),
            *("_python_parquet_encryption", "_s3", "_substrait"),
        )
    },
    "avcodec": ("LGPL-2.1-or-later", "FFmpeg without --enable-gpl; its own bytes say so"),
    "avformat": ("LGPL-2.1-or-later", "as avcodec"),
    "avif": ("BSD-2-Clause", "libavif LICENSE"),
    "avutil": ("LGPL-2.1-or-later", "as avcodec"),
    "brotlicommon": ("MIT", "brotli LICENSE"),
    "brotlidec": ("MIT", "brotli LICENSE"),
    "c2pa_c": ("MIT OR Apache-2.0", "c2pa-rs"),
    "crypto": ("OpenSSL", "OpenSSL 1.1; version 3 is Apache-2.0"),
    "de265": ("LGPL-3.0-or-later", "libde265 COPYING, the library"),
    "drm": ("MIT", "libdrm"),
    "freetype": ("FTL OR GPL-2.0-only", "FreeType LICENSE.TXT; we take the FTL"),
    "geos": ("LGPL-2.1-or-later", "GEOS COPYING; LICENSE_GEOS in the wheel"),
    "geos_c": ("LGPL-2.1-or-later", "as geos"),
    "gfortran": (GCC, "GCC run-time library"),
    "gomp": (GCC, "GCC run-time library"),
    "harfbuzz": ("MIT-Modern-Variant", "HarfBuzz COPYING"),
    "heif": ("LGPL-3.0-or-later", "libheif COPYING, the library"),
    "jpeg": ("IJG AND BSD-3-Clause AND Zlib", "libjpeg-turbo LICENSE.md"),
    "lcms2": ("MIT", "Little CMS LICENSE"),
    "llvmlite": ("BSD-2-Clause AND Apache-2.0 WITH LLVM-exception", "llvmlite, and LLVM in it"),
    "lzma": ("0BSD", "liblzma, XZ Utils COPYING"),
    "onnxruntime": ("MIT", "ONNX Runtime LICENSE"),
    "onnxruntime_providers_shared": ("MIT", "ONNX Runtime LICENSE"),
    "openblasp": ("BSD-3-Clause", "OpenBLAS LICENSE"),
    "openjp2": ("BSD-2-Clause", "OpenJPEG LICENSE"),
    "parquet": ("Apache-2.0", "as arrow"),
    "png16": ("libpng-2.0", "libpng LICENSE"),
    "quadmath": ("LGPL-2.1-or-later", "GCC run-time library"),
    "scipy_openblas": ("BSD-3-Clause", "OpenBLAS LICENSE"),
    "scipy_openblas64_": ("BSD-3-Clause", "OpenBLAS LICENSE"),
    "sharpyuv": ("BSD-3-Clause", "libwebp COPYING"),
    "ssl": ("OpenSSL", "as crypto"),
    "swresample": ("LGPL-2.1-or-later", "as avcodec"),
    "swscale": ("LGPL-2.1-or-later", "as avcodec"),
    "tiff": ("libtiff", "LibTIFF LICENSE.md"),
    "vpx": ("BSD-3-Clause", "libvpx LICENSE"),
    "webp": ("BSD-3-Clause", "libwebp COPYING"),
    "webpdemux": ("BSD-3-Clause", "libwebp COPYING"),
    "webpmux": ("BSD-3-Clause", "libwebp COPYING"),
    "xcb": ("MIT", "libxcb COPYING"),
    "zstd": ("BSD-3-Clause", "zstd LICENSE; dual with GPL-2.0, we take BSD"),
}

# What the binaries of GPL libraries say of themselves, whatever their file is called.
GPL_MARKS = {
    b"H.264/MPEG-4 AVC codec - Copy": "x264",
    b"H.265/HEVC codec - Copy": "x265",
    b"x265 [": "x265",
    b" license: GPL version": "FFmpeg with --enable-gpl",
    b" license: nonfree": "FFmpeg with --enable-nonfree",
    b"--enable-gpl": "FFmpeg with --enable-gpl",
    b"GPL Ghostscript": "Ghostscript",
    b"fftw-3.": "FFTW",
    b"GNU Scientific Library": "GSL",
}

_BINARY = re.compile(r"\.(so(\.[\d.]+)?|dylib|dll|pyd)$")
_EXTENSION = re.compile(r"\.(cpython-\w+|abi3|cp\d+)[\w-]*\.(so|pyd)$")


@dataclass(frozen=True)
class Entry:
    """One thing that was looked at; `problem` is empty where all is well."""

    kind: str
    name: str
    licence: str
    problem: str = ""


def is_allowed(expression: str, allowed: frozenset[str] = ALLOWED) -> bool:
    """Evaluate an SPDX expression without parentheses: one side of OR, every side of AND."""
    return any(
        all(part.strip() in allowed | {GCC} for part in side.split(" AND "))
        for side in expression.split(" OR ")
    )


def normal(name: str) -> str:
    """Return the normal form of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(
    root: str, installed: dict[str, Distribution], extras: Iterable[str] = ()
) -> list[Distribution]:
    """Return what an install of one package brings, the package itself left out.

    Raises:
        KeyError: if something required is not installed.
    """
    found: dict[str, Distribution] = {}
    waiting = [(root, frozenset(extras))]
    seen = set(waiting)
    while waiting:
        name, asked = waiting.pop()
        found[name] = installed[name]
        for text in installed[name].requires or []:
            wanted = Requirement(text)
            if wanted.marker and not any(
                wanted.marker.evaluate({"extra": extra}) for extra in asked | {""}
            ):
                continue
            item = (normal(wanted.name), frozenset(wanted.extras))
            if item not in seen:
                seen.add(item)
                waiting.append(item)
    del found[root]
    return [found[name] for name in sorted(found)]


def licence_of(package: Distribution) -> str:
    """Return what a package declares as an SPDX expression, or '' if that is not clear."""
    fields = package.metadata.json
    if reviewed := REVIEWED_PACKAGES.get(normal(package.name)):
        return reviewed[0]
    if expression := fields.get("license_expression"):
        return str(expression)
    classifiers = [line for line in fields.get("classifier", ()) if line.startswith("License ::")]
    named = [line.split("::")[-1].strip() for line in classifiers] + [
        str(fields.get("license", ""))
    ]
    spelled = {SPELLINGS.get(name.lower(), name) for name in named if name not in VAGUE}
    return " AND ".join(sorted(spelled))


def library_name(file: str) -> str:
    """Return a bundled library's name without prefix, hash and version.

    >>> library_name("libopenblasp-r0-59ffcd50.3.15.so")
    'openblasp'
    >>> library_name("libscipy_openblas64_-32a4b2a6.so")
    'scipy_openblas64_'
    """
    return re.sub(r"^lib", "", re.split(r"[-.]", file, maxsplit=1)[0])


def check_package(package: Distribution) -> Iterator[Entry]:
    """Look at one package and the binaries in it."""
    declared = licence_of(package)
    problem = "" if is_allowed(declared) else f"licence {declared or 'unknown'}"
    yield Entry("package", package.name, declared, problem)
    for file in package.files or []:
        if not _BINARY.search(file.name):
            continue
        label = f"{package.name}: {file.name}"
        path = Path(str(package.locate_file(file)))
        if not path.is_file():
            continue
        if not _EXTENSION.search(file.name):
            reviewed, _ = REVIEWED_LIBRARIES.get(library_name(file.name), ("", ""))
            problem = "" if is_allowed(reviewed) else "not reviewed; see REVIEWED_LIBRARIES"
            yield Entry("library", label, reviewed, problem)
        data = path.read_bytes()
        for mark, library in GPL_MARKS.items():
            if mark in data:
                yield Entry("library", label, "GPL", f"holds {library}")


def check_cards(folder: Path) -> Iterator[Entry]:
    """Look at the cards of our own weights."""
    for card in sorted(folder.glob("*/weights/*.card.json")):
        value = json.loads(card.read_text(encoding="utf-8"))
        name = str(card.relative_to(folder))
        licence = value["licence"]
        problem = "" if is_allowed(licence) else f"licence {licence}"
        yield Entry("weights", name, licence, problem)
        for source in value["data"]:
            problem = (
                ""
                if is_allowed(source["licence"], ALLOWED_FOR_DATA)
                else f"licence {source['licence']}"
            )
            yield Entry("data", f"{name}: {source['name']}", source["licence"], problem)


def check(
    installed: Iterable[Distribution], root: Path = ROOT, extras: Iterable[str] = ()
) -> list[Entry]:
    """Look at everything that a light install, or one with some extras, brings.

    Raises:
        KeyError: if counterproof or something that it requires is not installed, or there is no
            such extra.
    """
    by_name: dict[str, Distribution] = {}
    for package in installed:  # the first of a name is the one that is imported
        by_name.setdefault(normal(package.name), package)
    offered = by_name["counterproof"].metadata.get_all("Provides-Extra") or []
    for name in set(extras).difference(offered):
        raise KeyError(f"the extra {name}")
    entries = [
        entry
        for package in closure("counterproof", by_name, extras)
        for entry in check_package(package)
    ]
    return entries + list(check_cards(root))


def main() -> int:
    """Print what is wrong, or how much was found to be right."""
    parser = argparse.ArgumentParser(description="Check the licences of what an install brings.")
    parser.add_argument("--list", action="store_true", help="print everything that was looked at")
    parser.add_argument("--extras", default="", help="names, with commas between them")
    options = parser.parse_args()
    extras = [name for name in options.extras.split(",") if name]
    try:
        entries = check(distributions(), extras=extras)
    except KeyError as err:
        wanted = f"'.[{','.join(extras)}]'" if extras else "."
        print(f"licences: {err.args[0]} is not installed; pip install -c constraints.txt {wanted}")
        return 1
    if options.list:
        for entry in entries:
            print(f"{entry.kind:8} {entry.name:60} {entry.licence}")
    problems = [entry for entry in entries if entry.problem]
    for entry in problems:
        print(f"licences: {entry.kind} {entry.name}: {entry.problem}")
    counts = ", ".join(
        f"{sum(entry.kind == kind for entry in entries)} {plural}"
        for kind, plural in (
            ("package", "packages"),
            ("library", "libraries"),
            ("weights", "weights"),
            ("data", "data sources"),
        )
    )
    print(f"licences: {counts}; {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
