"""counterproof: where does a picture come from, and did a machine make it?

    import counterproof

    for record in counterproof.scan("press/"):
        print(record.path, record.verdict.status)

Names are imported when they are first used, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterproof.audit.scan import scan
    from counterproof.findings import Record
    from counterproof.images import ImageFile
    from counterproof.provenance.mark import mark

__all__ = ["ImageFile", "Record", "__version__", "mark", "scan"]

__version__ = "0.1.0"

_HOMES = {
    "ImageFile": "counterproof.images",
    "Record": "counterproof.findings",
    "mark": "counterproof.provenance.mark",
    "scan": "counterproof.audit.scan",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
