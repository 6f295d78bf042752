"""What no file shows, stated by whoever runs a system: questionnaire, template, signature.

The file is TOML. A signature over its bytes lies beside it (`FILE.sig`, JSON with the chain of
certificates), so that it can be read and changed with any editor, and a change shows.
"""

import datetime as dt
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterproof.audit.signature import Signature, check_signature, sign_bytes
from counterproof.errors import UserError
from counterproof.provenance.keys import Identity
from counterproof.text import Catalogue

__all__ = ["FACTS", "Answers", "read_questionnaire", "sign_questionnaire", "template"]

_MAX_BYTES = 256 * 1024

FACTS: dict[str, type] = {
    "marks_unreadable_here": bool,
    "label_shown_beside": bool,
    "label_drawn_elsewhere": bool,
    "users_told_about_ai": bool,
    "training_summary_published": bool,
    "intimate_image_safeguards": bool,
    "terms_forbid_mark_removal": bool,
    "detector_free": bool,
    "detector_detects_own": bool,
    "detector_interoperable": bool,
    "visible_label_option": bool,
    "licence_keeps_disclosure": bool,
    "hosted_models_disclose": bool,
    "device_signs_captures": bool,
    "platform_checks_marks": bool,
    "platform_shows_provenance": bool,
    "uploader_declaration": bool,
    "agreement_explains_labels": bool,
    "face_edit_consent": bool,
    "label_log_months": int,
    "takedown_hours": int,
}
"""What is asked, by name; `rules.fact.<name>` in the catalogue has the question."""


@dataclass(frozen=True, slots=True)
class Answers:
    """A questionnaire that was filled in.

    Attributes:
        facts: name → answer, of those that were given.
        system: what it is about.
        attested_by: who signed it; empty if nobody did.
    """

    facts: Mapping[str, Any]
    system: str
    attested_by: str


def template(words: Catalogue) -> str:
    """Return an empty questionnaire with its questions as comments."""
    lines = [f"# {line}" for line in words.ui("rules.template").split("\n")]
    lines += ["", "[system]", 'name = ""', f"date = {dt.date.today().isoformat()}", "", "[facts]"]
    for name, kind in FACTS.items():
        lines.append(f"# {words.ui(f'rules.fact.{name}')}")
        lines.append(f"# {name} = {'true' if kind is bool else '6'}")
    return "\n".join(lines) + "\n"


def read_questionnaire(path: Path) -> Answers:
    """Read a questionnaire, and check the signature beside it if there is one.

    Raises:
        UserError: if it cannot be read, asks something unknown, or its signature does not hold.
    """
    data = _read(path)
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise UserError(f"{path}: expected a TOML file: {err}") from err
    facts = table.get("facts", {})
    system = table.get("system", {})
    if not isinstance(facts, dict) or not isinstance(system, dict):
        raise UserError(f"{path}: expected the tables [system] and [facts]")
    for name, value in facts.items():
        kind = FACTS.get(name)
        if kind is None:
            raise UserError(
                f"{path}: unknown fact {name!r}; `--template` writes all that there are"
            )
        if type(value) is not kind:
            what = "true or false" if kind is bool else "a whole number"
            raise UserError(f"{path}: {name}: expected {what}, got {value!r}")
    return Answers(facts, str(system.get("name", ""))[:200], _attested(path, data))


def sign_questionnaire(path: Path, identity: Identity) -> Path:
    """Write the signature of a questionnaire beside it.

    Returns:
        Where it was written.

    Raises:
        UserError: if the questionnaire cannot be read or the signature cannot be written.
    """
    from counterproof.audit.writer import open_atomically

    signature = sign_bytes(_read(path), identity)
    target = _beside(path)
    with open_atomically(target) as stream:
        stream.write(json.dumps(signature.to_json(), indent=1).encode() + b"\n")
    return target


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sig")


def _attested(path: Path, data: bytes) -> str:
    target = _beside(path)
    if not target.is_file():
        return ""
    try:
        signature = Signature.from_json(json.loads(_read(target)))
    except (ValueError, KeyError, TypeError) as err:
        raise UserError(f"{target}: expected a signature that `--sign` wrote") from err
    if not check_signature(data, signature):
        raise UserError(
            f"{target}: the signature does not fit {path.name}; it was changed after signing: "
            "sign it again, or remove the signature"
        )
    return signature.signer


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as err:
        raise UserError(f"{path}: {err.strerror}") from err
    if len(data) > _MAX_BYTES:
        raise UserError(f"{path}: too large for a questionnaire")
    return data
