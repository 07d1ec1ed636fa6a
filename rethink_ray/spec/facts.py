"""What the data set turned out to be, as far as a trial's identity and its checks need it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """Measured once per study by ``data``, recorded in ``resolved.json``, read by everyone."""

    fingerprint: str
    """Hash of the annotations of every split the study uses."""
    categories: tuple[str, ...]
    regime_sizes: Mapping[str, int]
    regime_digests: Mapping[str, str]
    """Regime -> hash of its image ids."""
    split_sizes: Mapping[str, int]
    upstream_fingerprint: str
    """Hash of what upstream classifiers are trained on."""
    unlabelled_fingerprint: str = ""
    """Hash of the images that ``data.unlabelled`` names; empty where it names none."""
