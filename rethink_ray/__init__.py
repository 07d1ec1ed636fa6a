"""Ray-distributed hyperparameter studies for object detectors.

From Python: ``read_study`` gives a study's tables and findings, ``run`` runs one. Both import what
they need when they are called.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rethink_ray.api import StudyResults

__all__ = ["read_study", "run"]


def read_study(where: Path | str) -> "StudyResults":
    """The tables and findings of the study at a path or URI, running, stopped or finished.

    Raises:
        RecordError: there is no study, or not as this program wrote it.
    """
    from rethink_ray.api import read

    return read(where)


def run(
    study: Path | str | Mapping[str, Any],
    out: str | None = None,
    *,
    address: str | None = None,
    slots: int | None = None,
) -> "StudyResults":
    """Runs a study, or continues it, and gives its tables and findings.

    Args:
        study: a study file, the stem of one that ships, or its tree of keys and values.
        out: study directory or URI; None = ``studies/NAME``.
        address: of a running Ray cluster; None starts Ray on this machine and stops it again.
        slots: trials at once on this machine; None = all cores.

    Returns:
        The results; ``status`` says whether the study is done.

    Raises:
        SpecError, DataError: the study says what cannot be run.
        RecordError: another process runs it, or another study stands there.
    """
    from rethink_ray.api import run_here

    return run_here(study, out, address=address, slots=slots)
