"""The analyzers that this wing offers to a scan, by name."""

from counterproof.analysis import Analyzer, AnalyzerFactory
from counterproof.settings import Settings

__all__ = ["ANALYZERS"]


def _c2pa(settings: Settings) -> Analyzer:
    from counterproof.provenance.credentials_scan import CredentialsAnalyzer

    return CredentialsAnalyzer(settings)


def _crosscheck(settings: Settings) -> Analyzer:
    from counterproof.provenance.crosscheck import CrosscheckAnalyzer

    return CrosscheckAnalyzer(settings)


def _fixed_marks(settings: Settings) -> Analyzer:
    from counterproof.provenance.fixed_marks import FixedMarksAnalyzer

    return FixedMarksAnalyzer(settings)


def _labels(settings: Settings) -> Analyzer:
    from counterproof.provenance.labels import LabelsAnalyzer

    return LabelsAnalyzer(settings)


def _recovery(settings: Settings) -> Analyzer:
    from counterproof.provenance.recovery import RecoveryAnalyzer

    return RecoveryAnalyzer(settings)


def _rights(settings: Settings) -> Analyzer:
    from counterproof.provenance.rights import RightsAnalyzer

    return RightsAnalyzer(settings)


def _stealth(settings: Settings) -> Analyzer:
    from counterproof.provenance.stealth import StealthAnalyzer

    return StealthAnalyzer(settings)


def _traces(settings: Settings) -> Analyzer:
    from counterproof.provenance.traces import TracesAnalyzer

    return TracesAnalyzer(settings)


def _watermark(settings: Settings) -> Analyzer:
    from counterproof.provenance.watermark_scan import WatermarkAnalyzer

    return WatermarkAnalyzer(settings)


ANALYZERS: dict[str, AnalyzerFactory] = {
    "c2pa": _c2pa,
    "crosscheck": _crosscheck,
    "labels": _labels,
    "traces": _traces,
    "stealth": _stealth,
    "rights": _rights,
    "watermark": _watermark,
    "fixed_marks": _fixed_marks,
    "recovery": _recovery,
}
