"""Lines of a user's own: verified by conditions on what is observed, by evidence, or both, without code."""

from collectors.custom.collector import Custom
from collectors.custom.line import CustomEvidence, CustomLine

__all__ = ["Custom", "CustomEvidence", "CustomLine"]
