"""Write records as jsonl, json, csv, sarif or parquet, one at a time, in constant memory.

How a file comes to be whole or not at all is `audit.writer`'s, SARIF is `audit.sarif`'s. HTML is
another matter: it is a view of a whole case (`audit.report`).
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from counterproof.audit.sarif import SarifWriter
from counterproof.audit.writer import Target, Writer, json_bytes
from counterproof.errors import MissingExtra, UserError
from counterproof.findings import Record, Relation
from counterproof.text import Catalogue

__all__ = [
    "COLUMNS",
    "FORMATS",
    "CsvWriter",
    "JsonWriter",
    "JsonlWriter",
    "ParquetWriter",
    "flat",
    "format_of",
    "open_writer",
    "read_paths_parquet",
    "write_csv",
    "write_json",
    "write_jsonl",
    "write_parquet",
    "write_sarif",
]


class JsonlWriter(Writer):
    """One record per line."""

    def put(self, record: Record) -> None:
        """Write one line and hand it on: a reader of the pipe wants it now."""
        self.stream.write(json_bytes(record.to_json()) + b"\n")
        if self._target == "-":
            self.stream.flush()


class JsonWriter(Writer):
    """One array of records."""

    def begin(self) -> None:
        """Open the array."""
        self._lead = b"[\n"

    def put(self, record: Record) -> None:
        """Write one element."""
        self.stream.write(self._lead + json_bytes(record.to_json()))
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
        row = flat(record) | {"record": json_bytes(record.to_json()).decode()}
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
    hint = "; for a PDF, write .html and print it from a browser" if suffix == "pdf" else ""
    raise UserError(f"{os.fspath(path)}: expected a name that ends in one of {known}{hint}")


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
