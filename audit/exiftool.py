"""Every tag of a file as exiftool reads it, where the user has exiftool: for people to read.

exiftool knows some 28,000 tags, and is a large program that has had holes. So it is run only when
asked for, in a version without the known ones, and shut in: it gets the bytes on standard input
and never a name, an empty folder, no settings file and no environment of the user; limits of the
system hold its time, memory and open files, it can write no file, and where the system allows it
there is no network around it. Nothing that it says becomes a finding.

Source of the floor: CVE-2021-22204 (code in DjVu annotations, fixed in 12.24) and CVE-2022-23935
(a file name that ends in a pipe, fixed in 12.38).
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass

from counterproof.errors import ImageError, UserError
from counterproof.images import ImageFile
from counterproof.tiff import clean

__all__ = ["FLOOR", "TagDump", "find_exiftool", "read_tags"]

FLOOR = (12, 38)
_TIMEOUT_S = 40.0
_CPU_S = 20
_MEMORY = 1 << 30
_MAX_OUTPUT = 8 * 2**20
_MAX_TAGS = 4_000
_MAX_CHARS = 300
_LEFT_OUT = ("SourceFile", "System:", "ExifTool:ExifToolVersion")

# Runs in a process of its own: sets limits on itself, leaves the network, becomes exiftool.
_SHUT_IN = """
import ctypes, os, resource, sys
cpu, memory = int(sys.argv[1]), int(sys.argv[2])
for what, most in (
    (resource.RLIMIT_CPU, cpu), (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_NOFILE, 32), (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(what, (most, most))
try:
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    alone = unshare(0x10000000 | 0x40000000) == 0 or unshare(0x40000000) == 0
except (OSError, AttributeError):
    alone = False
os.write(1, b"alone\\n" if alone else b"beside\\n")
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True, slots=True)
class TagDump:
    """What exiftool says of one file.

    Attributes:
        version: of exiftool.
        tags: group and name → value as text, one line each, in exiftool's order.
        complete: False if there were more than are kept.
        networkless: whether there was no network around it.
    """

    version: str
    tags: tuple[tuple[str, str], ...]
    complete: bool
    networkless: bool


def find_exiftool() -> tuple[str, str]:
    """Find exiftool and ask for its version.

    Returns:
        Its path and version.

    Raises:
        UserError: if there is none, this system cannot shut it in, or it is too old.
    """
    path = shutil.which("exiftool")
    if path is None:
        raise UserError("exiftool was not found on the path; install it, or leave --tags out")
    if sys.platform == "win32":
        raise UserError("--tags needs limits of the system that Windows does not offer")
    out, _, code = _run(path, ["-ver"], b"")
    version = out.decode("ascii", "replace").strip()
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if code or not numbers:
        raise UserError(f"{path}: expected a version from exiftool -ver, got {version[:40]!r}")
    if numbers < FLOOR:
        wanted = ".".join(map(str, FLOOR))
        raise UserError(f"{path}: exiftool {version} is too old: at least {wanted} is needed")
    return path, version


def read_tags(image: ImageFile, found: tuple[str, str]) -> TagDump:
    """Let exiftool read one file.

    Args:
        image: the file; its bytes go to standard input.
        found: what `find_exiftool` returned.

    Raises:
        ImageError: if it takes too long, breaks off, or answers nothing that can be read.
    """
    path, version = found
    out, networkless, code = _run(path, ["-j", "-G1", "-a", "-u", "-"], image.data)
    try:
        (pairs,) = json.loads(out, object_pairs_hook=_Pairs)
    except (ValueError, TypeError, RecursionError) as err:
        what = "took too long or too much memory" if code < 0 or not out else "answered no tags"
        raise ImageError("damaged", f"{image.name}: exiftool {what}") from err
    if not isinstance(pairs, _Pairs):
        raise ImageError("damaged", f"{image.name}: exiftool answered no tags")
    tags = [
        (clean(name, 80), _text(value)) for name, value in pairs if not name.startswith(_LEFT_OUT)
    ]
    return TagDump(version, tuple(tags[:_MAX_TAGS]), len(tags) <= _MAX_TAGS, networkless)


class _Pairs(list[tuple[str, object]]):
    """The members of a JSON object in order, repeated names included."""


def _text(value: object) -> str:
    if isinstance(value, _Pairs):
        return clean("; ".join(f"{name}: {_text(item)}" for name, item in value), _MAX_CHARS)
    if isinstance(value, list):
        return clean(", ".join(_text(item) for item in value[:100]), _MAX_CHARS)
    return clean(str(value), _MAX_CHARS)


def _run(path: str, arguments: list[str], data: bytes) -> tuple[bytes, bool, int]:
    """Run exiftool shut in; return its output, whether without network, and its exit code."""
    with (
        tempfile.TemporaryDirectory(prefix="counterproof-") as folder,
        tempfile.TemporaryFile() as given,
    ):
        given.write(data)
        given.seek(0)
        command = [sys.executable, "-I", "-S", "-c", _SHUT_IN, str(_CPU_S), str(_MEMORY), path]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": folder,
            "EXIFTOOL_HOME": folder,
            "LC_ALL": "C",
        }
        with subprocess.Popen(
            [*command, "-config", "", *arguments],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            alarm = threading.Timer(_TIMEOUT_S, process.kill)
            alarm.start()
            out = process.stdout.read(_MAX_OUTPUT + 1)
            if len(out) > _MAX_OUTPUT:
                process.kill()
                out = b""
            code = process.wait()
            alarm.cancel()
    marker, _, answer = out.partition(b"\n")
    return answer, marker == b"alone", code
