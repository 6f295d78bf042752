"""Seal a case: a hash tree over its records and inputs, signed, time-stamped, in one bundle.

A bundle is a ZIP of plain files, so that every claim in it can be checked without this program:

    records.jsonl     one record a line, with the hash of its input and of its evidence
    relations.jsonl   what holds between pictures
    notes.jsonl       what people wrote, disputes included
    report.html       the report, if one was asked for
    seal.json         the digest of every line and file, and the root of the tree over them
    seal.sig          the signature over seal.json (`openssl dgst -verify`)
    chain.pem         who signed
    seal.tsr          the time stamp over it, where one was asked for (`openssl ts -verify`)

The case keeps seal, signature and time stamp as well. A line that was changed, added or taken out
later is named.

Source: the tree is that of RFC 9162 §2.1.1 (leaf 0x00 ‖ data, node 0x01 ‖ left ‖ right, SHA-256).
"""

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterproof import __version__
from counterproof.audit.signature import Signature, check_signature, sign_bytes
from counterproof.audit.writer import open_atomically
from counterproof.errors import ProvenanceError, UserError
from counterproof.findings import Blob, Record
from counterproof.provenance.keys import Identity

if TYPE_CHECKING:
    from counterproof.audit.case import Case

__all__ = ["SEAL_SCHEMA", "Change", "Checked", "check_bundle", "check_case", "root_of", "seal"]

SEAL_SCHEMA = "counterproof.seal/1"
_PARTS = ("records.jsonl", "relations.jsonl", "notes.jsonl")
_REPORT = "report.html"
_EPOCH = (2026, 1, 1, 0, 0, 0)  # the same case gives the same bundle but for seal and signature
_MAX_FILE = 2 * 2**30
_MAX_SEAL = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was sealed.

    Attributes:
        part: file of the bundle, or `input`.
        number: line, from 1; 0 for a whole file.
        what: the picture or text that the line is about; may be empty.
        how: `changed`, `added`, `missing`, `unsigned`, `signature`, `root`, `timestamp`.
    """

    part: str
    number: int
    what: str
    how: str

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON values."""
        return {"part": self.part, "line": self.number, "what": self.what, "how": self.how}


@dataclass(frozen=True, slots=True)
class Checked:
    """What checking a seal found.

    Attributes:
        root: of the tree, hexadecimal.
        signer: the name that the certificate claims.
        stamped_at: time in the time stamp, ISO 8601; empty without one.
        leaves: how many lines and files were sealed.
        changes: what is not as it was sealed; empty if nothing.
    """

    root: str
    signer: str
    stamped_at: str
    leaves: int
    changes: tuple[Change, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "root": self.root,
            "signer": self.signer,
            "stamped_at": self.stamped_at,
            "leaves": self.leaves,
            "changes": [item.to_json() for item in self.changes],
        }


# -- the tree ---------------------------------------------------------------------------------


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes; of none, the hash of nothing.

    >>> root_of([]).hex()[:8]
    'e3b0c442'
    """
    if not leaves:
        return hashlib.sha256().digest()
    row = list(leaves)
    while len(row) > 1:  # pairing from the left gives RFC 9162's split at powers of two
        pairs = [
            hashlib.sha256(b"\x01" + left + right).digest()
            for left, right in zip(row[::2], row[1::2], strict=False)
        ]
        row = pairs + ([row[-1]] if len(row) % 2 else [])
    return row[0]


# -- what is sealed ---------------------------------------------------------------------------


def _line(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _record_line(case: "Case", record: Record) -> bytes:
    names = sorted({name for finding in record.findings for name in finding.evidence})
    blobs = [(name, case.blob(record.sha256, name)) for name in names]
    evidence = {name: hashlib.sha256(blob.data).hexdigest() for name, blob in blobs if blob}
    return _line({"record": record.to_json(), "evidence": evidence})


def _lines(case: "Case") -> Iterator[tuple[str, Iterator[bytes]]]:
    yield _PARTS[0], (_record_line(case, record) for record in case.records())
    yield _PARTS[1], (_line(relation.to_json()) for relation in case.relations())
    notes = ({"sha256": n.sha256, "kind": n.kind, "at": n.at, "text": n.text} for n in case.notes())
    yield _PARTS[2], (_line(note) for note in notes)


def seal(
    case: "Case",
    target: str,
    identity: Identity,
    *,
    report: bytes = b"",
    tsa: str = "",
) -> Checked:
    """Seal a case and write the bundle.

    Args:
        case: open; seal, signature and time stamp are kept in it.
        target: path of the ZIP.
        identity: who signs.
        report: one HTML file to seal with it; none if empty.
        tsa: address of a time-stamping authority; the only use of the network.

    Raises:
        ProvenanceError: if the signer or the authority fails.
        UserError: if the bundle cannot be written.
    """
    parts: list[dict[str, Any]] = []
    leaves: list[bytes] = []
    with open_atomically(target) as stream, zipfile.ZipFile(stream, "w") as bundle:
        for name, lines in _lines(case):
            found = []
            with bundle.open(_entry(name), "w", force_zip64=True) as file:
                for line in lines:
                    file.write(line)
                    found.append(_leaf(line))
            parts.append({"name": name, "leaves": [leaf.hex() for leaf in found]})
            leaves += found
        if report:
            bundle.writestr(_entry(_REPORT), report)
            parts.append({"name": _REPORT, "leaves": [_leaf(report).hex()]})
            leaves.append(_leaf(report))
        root = root_of(leaves).hex()
        document = _line(
            {"schema": SEAL_SCHEMA, "version": __version__, "root": root, "parts": parts}
        )
        signature = sign_bytes(document, identity)
        stamp, stamped_at = b"", ""
        if tsa:
            from counterproof.provenance import timestamp

            stamp = timestamp.ask(tsa, document)
            stamped_at = timestamp.stamped_at(stamp, document).isoformat()
        bundle.writestr(_entry("seal.json"), document)
        bundle.writestr(_entry("seal.sig"), signature.value)
        bundle.writestr(_entry("chain.pem"), signature.chain)
        if stamp:
            bundle.writestr(_entry("seal.tsr"), stamp)
    kept = json.dumps(signature.to_json()).encode()
    case.put_blob("", Blob("seal.json", "application/json", document))
    case.put_blob("", Blob("seal.sig", "application/json", kept))
    case.put_blob("", Blob("seal.tsr", "application/timestamp-reply", stamp))
    case.commit()
    return Checked(root, signature.signer, stamped_at, len(leaves), ())


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


# -- checking ---------------------------------------------------------------------------------


def check_case(case: "Case") -> Checked:
    """Compare a case with the seal that it keeps.

    Raises:
        UserError: if it was never sealed.
    """
    document, kept, stamp = (case.blob("", name) for name in ("seal.json", "seal.sig", "seal.tsr"))
    if document is None or kept is None:
        raise UserError(f"{case.path}: not sealed; `counterproof case seal` does it")
    try:
        signature = Signature.from_json(json.loads(kept.data))
    except (ValueError, KeyError, TypeError) as err:
        raise UserError(f"{case.path}: its seal's signature is damaged") from err
    parts = ((name, lines) for name, lines in _lines(case))
    return _check(document.data, signature, stamp.data if stamp else b"", parts)


def check_bundle(path: Path, *, inputs: bool = False) -> Checked:
    """Check a bundle against its own seal, and if asked the inputs on the disk.

    Args:
        path: of the ZIP.
        inputs: hash every picture again where its record says that it lay.

    Raises:
        UserError: if it is no bundle.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            names = {item.filename: item.file_size for item in bundle.infolist()}
            document = _content(bundle, names, "seal.json")
            value, chain = (_content(bundle, names, n) for n in ("seal.sig", "chain.pem"))
            stamp = _content(bundle, names, "seal.tsr") if "seal.tsr" in names else b""
            signature = Signature(_algorithm(chain), value, chain)
            lines = ((name, _read_lines(bundle, name)) for name in _PARTS if name in names)
            whole = _chained(lines, bundle, names)
            found = _check(document, signature, stamp, whole)
            if not inputs:
                return found
            more = tuple(_inputs(_read_lines(bundle, _PARTS[0])))
            changes = (*found.changes, *more)
            return Checked(found.root, found.signer, found.stamped_at, found.leaves, changes)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, EOFError) as err:
        raise UserError(f"{path}: expected a bundle that `case seal` wrote: {err}") from err


def _content(bundle: zipfile.ZipFile, names: dict[str, int], name: str) -> bytes:
    if names[name] > _MAX_SEAL:
        raise ValueError(f"{name} is too large")
    return bundle.read(name)


def _read_lines(bundle: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with bundle.open(name) as file:
        yield from file


def _chained(
    lines: Iterable[tuple[str, Iterator[bytes]]], bundle: zipfile.ZipFile, names: dict[str, int]
) -> Iterator[tuple[str, Iterator[bytes]]]:
    yield from lines
    if _REPORT in names:
        yield _REPORT, iter([_content(bundle, names, _REPORT)])


def _algorithm(chain: bytes) -> str:
    from counterproof.provenance.private_key import algorithm_of

    return algorithm_of(Signature("", b"", chain).certificate.public_key())


def _check(
    document: bytes,
    signature: Signature,
    stamp: bytes,
    parts: Iterable[tuple[str, Iterator[bytes]]],
) -> Checked:
    sealed = json.loads(document)
    if not isinstance(sealed, dict) or sealed.get("schema") != SEAL_SCHEMA:
        raise ValueError(f"expected a seal of schema {SEAL_SCHEMA}")
    wanted = {str(part["name"]): list(part["leaves"]) for part in sealed["parts"]}
    changes: list[Change] = []
    if not check_signature(document, signature):
        changes.append(Change("seal.json", 0, "", "signature"))
    every = [bytes.fromhex(leaf) for leaves in wanted.values() for leaf in leaves]
    if root_of(every).hex() != sealed["root"]:
        changes.append(Change("seal.json", 0, "", "root"))
    stamped_at = ""
    if stamp:
        from counterproof.provenance import timestamp

        try:
            stamped_at = timestamp.stamped_at(stamp, document).isoformat()
        except ProvenanceError:
            changes.append(Change("seal.tsr", 0, "", "timestamp"))
    seen = set()
    for name, lines in parts:
        seen.add(name)
        changes += _compare(name, wanted.get(name, []), lines)
    # a case holds no report: only a bundle can miss one
    absent = [name for name in wanted if name not in seen and name != _REPORT]
    changes += [Change(name, 0, "", "missing") for name in absent]
    return Checked(sealed["root"], signature.signer, stamped_at, len(every), tuple(changes))


def _compare(name: str, wanted: list[str], lines: Iterator[bytes]) -> Iterator[Change]:
    """Name each line that is not as it was; one taken out or put in does not shift the rest."""
    got = [(_leaf(line).hex(), _about(name, line)) for line in lines]
    before, now = set(wanted), {leaf for leaf, _ in got}
    # a line in place of another is a change; what is left over came or went
    gone = [number for number, leaf in enumerate(wanted, 1) if leaf not in now]
    come = [(number, what) for number, (leaf, what) in enumerate(got, 1) if leaf not in before]
    replaced = set(gone) & {number for number, _ in come} if len(got) == len(wanted) else set()
    for number, what in come:
        yield Change(name, number, what, "changed" if number in replaced else "added")
    for number in gone:
        if number not in replaced:
            yield Change(name, number, "", "missing")
    if not gone and not come and [leaf for leaf, _ in got] != wanted:
        yield Change(name, 0, "", "changed")  # the same lines in another order or number


def _about(name: str, line: bytes) -> str:
    if name == _REPORT:
        return name
    try:
        value = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(value, dict):
        return ""
    record = value.get("record")
    if isinstance(record, dict):
        return str(record.get("path", ""))
    return str(value.get("text") or value.get("code") or "")[:120]


def _inputs(lines: Iterable[bytes]) -> Iterator[Change]:
    """Hash each picture again; one that is gone is named as well."""
    for number, line in enumerate(lines, 1):
        record = json.loads(line)["record"]
        path, wanted = str(record["path"]), str(record["sha256"])
        if not wanted:
            continue
        try:
            with open(path, "rb") as file:
                got = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            yield Change("input", number, path, "missing")
            continue
        if got != wanted:
            yield Change("input", number, path, "changed")
