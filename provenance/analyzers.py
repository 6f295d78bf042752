"""The analyzers that this wing offers to a scan, by name."""

from counterproof.analysis import AnalyzerFactory

__all__ = ["ANALYZERS"]

ANALYZERS: dict[str, AnalyzerFactory] = {}
