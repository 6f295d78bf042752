"""The analyzers that this wing offers to a scan, by name."""

from counterproof.analysis import Analyzer, AnalyzerFactory
from counterproof.settings import Settings

__all__ = ["ANALYZERS"]


def _detector(settings: Settings) -> Analyzer:
    from counterproof.detectors.scan import DetectorAnalyzer

    return DetectorAnalyzer(settings)


ANALYZERS: dict[str, AnalyzerFactory] = {"detector": _detector}
