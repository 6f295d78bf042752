"""Write records as jsonl, json, csv, sarif or parquet, one at a time, in constant memory.

A file is written under a temporary name in its own folder and takes its name when all is
written, so that a reader never meets half of one and a failed run leaves the old one alone.
`-` is stdout. HTML is another matter: it is a view of a whole case (`audit.report`).
"""

import csv
import errno
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeAlias
from urllib.parse import quote

from counterproof import __version__
from counterproof.errors import MissingExtra, UserError
from counterproof.findings import Claim, Finding, Record, Relation, Severity
from counterproof.text import Catalogue, catalogue

__all__ = [
    "COLUMNS",
    "FORMATS",
    "CsvWriter",
    "JsonWriter",
    "JsonlWriter",
    "ParquetWriter",
    "SarifWriter",
    "Writer",
    "flat",
    "format_of",
    "open_atomically",
    "open_writer",
    "read_paths_parquet",
    "write_csv",
    "write_json",
    "write_jsonl",
    "write_parquet",
    "write_sarif",
]

Target: TypeAlias = str | os.PathLike[str] | IO[bytes]
"""A path, `-` for stdout, or a binary stream, which stays open."""


def write_failed(name: str, err: OSError) -> UserError:
    """Make the one line that says a file could not be written, and what to do."""
    what = err.strerror or str(err)
    todo = (
        "free some space or choose another folder"
        if err.errno == errno.ENOSPC
        else ("choose a folder that exists and that you may write to")
    )
    return UserError(f"{name}: cannot write: {what}; {todo}")


@contextmanager
def open_atomically(target: Target) -> Iterator[IO[bytes]]:
    """Open a binary stream whose file appears whole or not at all.

    Raises:
        UserError: if the file cannot be written, for want of space or permission.
    """
    if not isinstance(target, (str, os.PathLike)):
        yield target
        return
    if os.fspath(target) == "-":
        sys.stdout.flush()
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as err:
            raise write_failed("stdout", err) from err
        return
    path = Path(os.path.realpath(target))
    name = os.fspath(target)
    in_place = path.exists() and not path.is_file()  # a device or pipe keeps its place
    part = path if in_place else path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            yield stream
        if not in_place:
            os.replace(part, path)
    except OSError as err:
        # An error from within the block may be about another file: that one names itself.
        if err.filename not in (None, str(part), str(path)):
            raise
        raise write_failed(name, err) from err
    finally:
        if not in_place:
            part.unlink(missing_ok=True)


class Writer:
    """Takes records in order and closes the file around them.

    Use as a context manager: an exception inside leaves no file. `close` may be given what
    belongs to the whole scan; the context closes without it otherwise.
    """

    def __init__(self, target: Target, words: Catalogue | None = None) -> None:
        self.words = words or catalogue("en")
        self._opened = open_atomically(target)
        self._target = target
        self.stream = self._opened.__enter__()
        self._open = True
        self._guard(self.begin)

    def begin(self) -> None:
        """Write what comes before the first record."""

    def put(self, record: Record) -> None:
        """Write one record."""
        raise NotImplementedError

    def end(self, relations: Iterable[Relation], info: dict[str, Any]) -> None:
        """Write what comes after the last record."""

    def write(self, record: Record) -> None:
        """Write one record.

        Raises:
            UserError: if the disk is full.
        """
        self._guard(self.put, record)

    def close(self, relations: Iterable[Relation] = (), info: dict[str, Any] | None = None) -> None:
        """Finish the file and let it appear under its name.

        Args:
            relations: what holds between the pictures; only sarif carries them.
            info: JSON values about the whole scan; only sarif carries them.
        """
        if self._open:
            self._guard(self.end, relations, info or {})
            self._open = False
            self._opened.__exit__(None, None, None)

    def abort(self, err: BaseException | None = None) -> None:
        """Leave no file."""
        if self._open:
            self._open = False
            err = err or RuntimeError("aborted")
            try:
                self._opened.__exit__(type(err), err, err.__traceback__)
            except BaseException as raised:
                if raised is not err:
                    raise

    def _guard(self, do: Callable[..., None], *args: Any) -> None:
        """Run one step; whatever goes wrong leaves no file and reaches the caller."""
        try:
            do(*args)
        except BaseException as err:
            self.abort(err)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if err is not None:
            self.abort(err)
        else:
            self.close()


def _json(value: Any, indent: int | None = None) -> bytes:
    """Write JSON as UTF-8; a half surrogate becomes its escape, not-a-number becomes null."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return text.encode("utf-8", "backslashreplace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


class JsonlWriter(Writer):
    """One record per line."""

    def put(self, record: Record) -> None:
        """Write one line and hand it on: a reader of the pipe wants it now."""
        self.stream.write(_json(record.to_json()) + b"\n")
        if self._target == "-":
            self.stream.flush()


class JsonWriter(Writer):
    """One array of records."""

    def begin(self) -> None:
        """Open the array."""
        self._lead = b"[\n"

    def put(self, record: Record) -> None:
        """Write one element."""
        self.stream.write(self._lead + _json(record.to_json()))
        self._lead = b",\n"

    def end(self, relations: Iterable[Relation], info: dict[str, Any]) -> None:
        """Close the array."""
        self.stream.write(b"[]\n" if self._lead == b"[\n" else b"\n]\n")


COLUMNS = (
    "path",
    "sha256",
    "status",
    "integrity",
    "trust",
    "time",
    "history",
    "origin",
    "rests_on",
    "against",
    "codes",
    "format",
    "bytes",
    "width",
    "height",
    "frames",
    "camera",
    "software",
    "captured_at",
    "gps",
    "profile",
    "version",
    "as_of",
)
"""Columns of csv and parquet, in order. New ones are added at the end."""


def flat(record: Record) -> dict[str, Any]:
    """Return one row: a value for each of `COLUMNS`; lists are joined by a blank."""
    facts, file, verdict = record.facts, record.file, record.verdict
    camera = " ".join(
        str(facts[name]) for name in ("camera.make", "camera.model") if facts.get(name)
    )
    return {
        "path": record.path,
        "sha256": record.sha256,
        "status": verdict.status.value,
        **verdict.answers.to_json(),
        "rests_on": " ".join(verdict.rests_on),
        "against": " ".join(verdict.against),
        "codes": " ".join(dict.fromkeys(finding.code for finding in record.findings)),
        "format": file.format,
        "bytes": file.bytes,
        "width": file.width,
        "height": file.height,
        "frames": file.frames,
        "camera": camera,
        "software": str(facts.get("software") or ""),
        "captured_at": str(facts.get("captured_at") or ""),
        "gps": bool(facts.get("gps.present")),
        "profile": record.run.profile,
        "version": record.run.version,
        "as_of": record.run.as_of,
    }


def _cell(value: Any) -> Any:
    """Write one csv value; a text that a spreadsheet would run as a formula gets a quote.

    Source: OWASP, CSV Injection: = + - @, tab and carriage return, and their full-width forms.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        value = value.replace("\0", "")
        if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")):
            return f"'{value}"
    return value


class CsvWriter(Writer):
    """One row per record, for spreadsheets.

    UTF-8, lines end in a line feed. A file starts with a byte order mark, without which common
    spreadsheets garble every name that is not English; stdout does not.
    """

    def begin(self) -> None:
        """Write the header."""
        self._buffer = io.StringIO(newline="")
        self._rows = csv.writer(self._buffer, lineterminator="\n")
        if isinstance(self._target, (str, os.PathLike)) and os.fspath(self._target) != "-":
            self.stream.write(b"\xef\xbb\xbf")
        self._row(COLUMNS)

    def put(self, record: Record) -> None:
        """Write one row."""
        row = flat(record)
        self._row([_cell(row[name]) for name in COLUMNS])

    def _row(self, values: Iterable[Any]) -> None:
        self._rows.writerow(values)
        self.stream.write(self._buffer.getvalue().encode("utf-8", "backslashreplace"))
        self._buffer.seek(0)
        self._buffer.truncate()


_LEVELS = {
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
_FAULTS = ("failed", "timeout", "skipped")


class SarifWriter(Writer):
    """SARIF 2.1.0: one result per finding that matters, one rule per code.

    A finding matters if it claims something, is at stake at all, or the status names it.
    What could not be checked is counted in the invocation's notifications.

    Source: OASIS, SARIF 2.1.0, §3.27 result, §3.49 reportingDescriptor, §3.58 notification.
    """

    def begin(self) -> None:
        """Open the document, its run and its results."""
        self._rules: dict[str, int] = {}
        self._faults: dict[str, int] = {}
        self._statuses: dict[str, int] = {}
        self._lead = b"\n"
        self.stream.write(
            b'{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", '
            b'"runs": [{"columnKind": "unicodeCodePoints", "results": ['
        )

    def put(self, record: Record) -> None:
        """Write the results of one record."""
        status = record.verdict.status.value
        self._statuses[status] = self._statuses.get(status, 0) + 1
        named = {*record.verdict.rests_on, *record.verdict.against}
        seen: dict[str, int] = {}
        for finding in record.findings:
            if finding.state in _FAULTS:
                self._faults[finding.code] = self._faults.get(finding.code, 0) + 1
            elif (
                finding.code in named
                or finding.claim is not Claim.NONE
                or finding.severity is not Severity.INFO
            ):
                seen[finding.code] = seen.get(finding.code, 0) + 1
                result = self._result(record, finding, seen[finding.code])
                self.stream.write(self._lead + _json(result))
                self._lead = b",\n"

    def _result(self, record: Record, finding: Finding, nth: int) -> dict[str, Any]:
        index = self._rules.setdefault(finding.code, len(self._rules))
        said = self.words.describe(finding)
        # What a finding is, wherever the file lies: its content, the code, the how-manieth.
        identity = f"{record.sha256 or record.path}\0{finding.code}\0{nth}"
        properties: dict[str, Any] = {
            "sha256": record.sha256,
            "status": record.verdict.status.value,
            "claim": finding.claim.value,
            "basis": finding.basis.value,
            "severity": finding.severity.value,
            "means": said["means"],
            "doesNotMean": said["does_not_mean"],
        }
        if finding.probability is not None:
            properties["probability"] = finding.probability
        if finding.regions:
            properties["regions"] = [list(box) for box in finding.regions]
        return {
            "ruleId": finding.code,
            "ruleIndex": index,
            "level": _LEVELS[finding.severity],
            "message": {"text": said["says"]},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(record.path)}}}],
            "partialFingerprints": {
                "counterproof/v1": hashlib.sha256(
                    identity.encode("utf-8", "backslashreplace")
                ).hexdigest()
            },
            "properties": properties,
        }

    def _rule(self, code: str) -> dict[str, Any]:
        said = self.words.describe(Finding("", code))
        help_text = "\n".join(
            f"{self.words.ui(f'heading.{part}')}: {said[part]}"
            for part in ("means", "does_not_mean", "innocent")
            if said.get(part)
        )
        return {
            "id": code,
            "shortDescription": {"text": said["says"]},
            "help": {"text": help_text or code},
            "properties": {"tags": [code.partition(".")[0]]},
        }

    def end(self, relations: Iterable[Relation], info: dict[str, Any]) -> None:
        """Close the results; write the rules that they used."""
        driver = {
            "name": "counterproof",
            "version": __version__,
            "semanticVersion": __version__,
            "language": "zh-CN" if self.words.language == "zh" else "en",
            "rules": [self._rule(code) for code in self._rules],
        }
        notes = [
            {
                "level": "note",
                "descriptor": {"id": code},
                "message": {"text": f"{self.words.sentence(Finding('', code))} ({n})"},
            }
            for code, n in sorted(self._faults.items())
        ]
        invocation = {"executionSuccessful": True, "toolExecutionNotifications": notes}
        properties = {"statuses": dict(sorted(self._statuses.items())), **info}
        self.stream.write(b'\n], "tool": {"driver": ' + _json(driver) + b"},\n")
        self.stream.write(b'"invocations": [' + _json(invocation) + b"],\n")
        head = _json(properties)[:-1]  # relations may be many: they follow one at a time
        self.stream.write(b'"properties": ' + head + b', "relations": [')
        lead = b"\n"
        for relation in relations:
            self.stream.write(lead + _json(relation.to_json()))
            lead = b",\n"
        self.stream.write(b"]}}]}\n")


def _uri(path: str) -> str:
    """Write a path as a URI reference, percent-encoded (RFC 3986).

    >>> _uri("a b/ü:1.jpg"), _uri("/x/y.jpg")
    ('a%20b/%C3%BC%3A1.jpg', 'file:///x/y.jpg')
    """
    if os.sep == "\\":
        path = path.replace("\\", "/")
    text = quote(path, safe="/", errors="backslashreplace")
    if path.startswith("/"):
        return f"file://{text}"
    if os.sep == "\\" and path[1:3] == ":/":
        return f"file:///{quote(path, safe='/:')}"
    return text


def _pyarrow(feature: str) -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as err:
        raise MissingExtra(feature, "scale") from err


_ROWS = 2_000  # records in one parquet row group: a few MB in memory


class ParquetWriter(Writer):
    """The columns of csv, with their types, and the whole record as JSON in `record`."""

    def begin(self) -> None:
        """Open the file.

        Raises:
            MissingExtra: without pyarrow.
        """
        pyarrow, parquet = _pyarrow("parquet output")
        numbers = {"bytes": pyarrow.int64(), "gps": pyarrow.bool_()}
        numbers |= dict.fromkeys(("width", "height", "frames"), pyarrow.int32())
        self._schema = pyarrow.schema(
            [(name, numbers.get(name, pyarrow.string())) for name in (*COLUMNS, "record")]
        )
        self._arrow = pyarrow
        self._file = parquet.ParquetWriter(self.stream, self._schema, compression="zstd")
        self._batch: list[dict[str, Any]] = []

    def put(self, record: Record) -> None:
        """Add one row; write a row group when enough are in hand."""
        row = flat(record) | {"record": _json(record.to_json()).decode()}
        for name, value in row.items():
            if isinstance(value, str):
                row[name] = value.encode("utf-8", "backslashreplace").decode()
        self._batch.append(row)
        if len(self._batch) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            self._file.write_table(self._arrow.Table.from_pylist(self._batch, self._schema))
            self._batch = []

    def end(self, relations: Iterable[Relation], info: dict[str, Any]) -> None:
        """Write the rows in hand and the footer."""
        self._flush()
        self._file.close()


FORMATS: dict[str, type[Writer]] = {
    "jsonl": JsonlWriter,
    "json": JsonWriter,
    "csv": CsvWriter,
    "sarif": SarifWriter,
    "parquet": ParquetWriter,
}
"""Name of a format, which is also its suffix, to its writer. `html` is `audit.report`'s."""


def format_of(path: str | os.PathLike[str], default: str = "") -> str:
    """Return the format that a file's suffix names; `html` is one of them.

    Raises:
        UserError: if the suffix names none and there is no default.
    """
    suffix = Path(path).suffix.lower().lstrip(".")
    suffix = {"htm": "html", "ndjson": "jsonl", "pq": "parquet"}.get(suffix, suffix)
    if suffix == "html" or suffix in FORMATS:
        return suffix
    if default:
        return default
    known = ", ".join(f".{name}" for name in ("html", *FORMATS))
    raise UserError(f"{os.fspath(path)}: expected a name that ends in one of {known}")


def open_writer(target: Target, fmt: str, words: Catalogue | None = None) -> Writer:
    """Open the writer of a format.

    Args:
        target: a path, `-` for stdout, or a binary stream.
        fmt: one of `FORMATS`.
        words: language of the sentences in sarif; English by default.

    Raises:
        UserError: if the format is unknown or the file cannot be written.
        MissingExtra: for parquet without pyarrow.
    """
    if fmt not in FORMATS:
        raise UserError(f"expected a format of {', '.join(FORMATS)}, got {fmt!r}")
    return FORMATS[fmt](target, words)


def _write(
    fmt: str,
    target: Target,
    records: Iterable[Record],
    relations: Iterable[Relation] = (),
    info: dict[str, Any] | None = None,
    words: Catalogue | None = None,
) -> None:
    with open_writer(target, fmt, words) as writer:
        for record in records:
            writer.write(record)
        writer.close(relations, info)


def write_jsonl(target: Target, records: Iterable[Record]) -> None:
    """Write one record per line."""
    _write("jsonl", target, records)


def write_json(target: Target, records: Iterable[Record]) -> None:
    """Write one array of records."""
    _write("json", target, records)


def write_csv(target: Target, records: Iterable[Record]) -> None:
    """Write one row per record; see `CsvWriter`."""
    _write("csv", target, records)


def write_sarif(
    target: Target,
    records: Iterable[Record],
    relations: Iterable[Relation] = (),
    info: dict[str, Any] | None = None,
    words: Catalogue | None = None,
) -> None:
    """Write one SARIF 2.1.0 run; see `SarifWriter`."""
    _write("sarif", target, records, relations, info, words)


def write_parquet(target: Target, records: Iterable[Record]) -> None:
    """Write one row per record; see `ParquetWriter`.

    Raises:
        MissingExtra: without pyarrow.
    """
    _write("parquet", target, records)


def read_paths_parquet(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the `path` column of a parquet file, a row group at a time.

    Raises:
        MissingExtra: without pyarrow.
        UserError: if it is no parquet file or has no such column.
    """
    pyarrow, parquet = _pyarrow("parquet input")
    name = os.fspath(path)
    try:
        with parquet.ParquetFile(name) as file:
            if "path" not in file.schema_arrow.names:
                names = ", ".join(file.schema_arrow.names)
                raise UserError(f"{name}: expected a column 'path', got {names}")
            for batch in file.iter_batches(columns=["path"]):
                yield from (str(item) for item in batch.column(0).to_pylist() if item)
    except (OSError, pyarrow.ArrowException) as err:
        raise UserError(f"{name}: expected a parquet file: {err}") from err
