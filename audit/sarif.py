"""Write findings as SARIF 2.1.0, for tools that show the results of checks."""

import hashlib
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from counterproof import __version__
from counterproof.audit.writer import Writer, json_bytes
from counterproof.findings import Claim, Finding, Record, Relation, Severity

__all__ = ["SarifWriter"]

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
                self.stream.write(self._lead + json_bytes(result))
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
        self.stream.write(b'\n], "tool": {"driver": ' + json_bytes(driver) + b"},\n")
        self.stream.write(b'"invocations": [' + json_bytes(invocation) + b"],\n")
        head = json_bytes(properties)[:-1]  # relations may be many: they follow one at a time
        self.stream.write(b'"properties": ' + head + b', "relations": [')
        lead = b"\n"
        for relation in relations:
            self.stream.write(lead + json_bytes(relation.to_json()))
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
