"""Finds the paces that are known of a study: in a file, beside it, or in the records of a run."""

from contextlib import suppress
from pathlib import Path

from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.run_progress import read_progress
from rethink_ray.records.store import is_uri
from rethink_ray.search.measured_paces import PaceMeter
from rethink_ray.search.paces import PACE_SUFFIX, MeasuredPaces, read_paces
from rethink_ray.spec.errors import RecordError, SpecError, explain
from rethink_ray.spec.load import find_study


def choose_paces(where: str, name: str | None) -> MeasuredPaces | None:
    """The paces of the study at ``where``, else those beside its file; None: none are known.

    Args:
        where: the study's directory or URI; it need not exist.
        name: its file, or the name of one that ships; None: it has no file.

    Raises:
        SpecError: there is no such file, or the file of paces holds none.
    """
    measured = None
    if StudyDirectory.holds_study(where):
        with suppress(RecordError):  # an older study: the plan is about a new one
            measured = measure_paces(StudyDirectory.open(where))
    return measured or (None if name is None else find_paces(name))


def load_paces(where: str) -> MeasuredPaces:
    """The paces in a file, or those at which the study in a directory ran.

    Raises:
        SpecError: the file holds no paces, or the study has not finished a rung.
        RecordError: the study cannot be read.
    """
    if not is_uri(where) and not Path(where).is_dir():
        return read_paces(Path(where))
    directory = StudyDirectory.open(where)
    measured = measure_paces(directory)
    if measured is None:
        must = "must be of a study that has finished a rung"
        remedy = "Let it run for a while, or name a file of paces."
        raise SpecError(explain(where, must, "none so far", remedy))
    return measured


def find_paces(name: str) -> MeasuredPaces | None:
    """The paces that ``new`` wrote beside a study file; None: there are none.

    Raises:
        SpecError: there is no such study, or the file holds no paces.
    """
    path = find_study(name).with_suffix(PACE_SUFFIX)
    return read_paces(path) if path.is_file() else None


def measure_paces(directory: StudyDirectory) -> MeasuredPaces | None:
    """The paces at which a study has run so far; None before its first rung is finished."""
    state = directory.load_state()
    if not state.rungs:
        return None
    hosts = dict.fromkeys(rung.host for rung in state.rungs.values())
    seen = read_progress(directory)
    paces = PaceMeter(directory.study, directory.facts).paces(state)
    return MeasuredPaces(
        machine=", ".join(host or "?" for host in hosts),
        slots=1 if seen is None else seen.slots,
        arms=dict(paces),
    )
