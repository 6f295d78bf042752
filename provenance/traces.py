"""Traces that generators leave in the metadata of their pictures.

Only metadata is read. Marks in the pixels (the text that some programs hide in the lowest bits
of the alpha channel, invisible watermarks) are for other analyzers.
"""

from collections.abc import Iterator

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.findings import Basis, Claim, Finding, Severity
from counterproof.images import ImageFile
from counterproof.provenance.trace_evidence import Evidence, Family, Trace, claim_of_mode
from counterproof.provenance.trace_services import SERVICES
from counterproof.provenance.trace_tools import TOOLS

__all__ = ["FAMILIES", "TracesAnalyzer"]

FAMILIES: tuple[Family, ...] = (*TOOLS, *SERVICES)
_MAX_QUOTE = 100


class TracesAnalyzer(Analyzer):
    """Reads what generators write into PNG texts, EXIF, XMP, comments and trailers."""

    name = "traces"
    prefixes = ("trace",)
    stage = Stage.QUICK
    timeout_s = 10.0
    version = "2"

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        """Yield one finding per family of generators.

        Raises:
            ImageError: never; what cannot be read is no trace.
        """
        evidence = Evidence(image)
        for family in FAMILIES:
            if (trace := family.read(evidence)) is not None:
                yield _finding(family, trace)


def _finding(family: Family, trace: Trace) -> Finding:
    claim = claim_of_mode(trace.mode)
    return Finding(
        "traces",
        family.code,
        claim,
        Basis.DECLARED,
        Severity.INFO if claim in (Claim.EDITED, Claim.NONE) else Severity.MEDIUM,
        details={
            "generator": trace.generator,
            "version": trace.version[:_MAX_QUOTE] or None,
            "model": trace.model[:_MAX_QUOTE] or None,
            "mode": trace.mode or None,
            "has_prompt": trace.prompt_chars > 0,
            "prompt_chars": trace.prompt_chars,
            "where": trace.text.to_json(),
            **trace.more,
        },
    )
