"""The one configuration of a study that ``export --final`` trains on all labelled pictures."""

from rethink_ray.analysis.export import RungOrigin
from rethink_ray.analysis.findings import Findings, RegimeResult
from rethink_ray.analysis.read.curves import CellResult, CurvePoint
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.resolve import searches_of


def choose_recommended(directory: StudyDirectory, findings: Findings) -> RungOrigin:
    """The best arm of the largest regime: each arm at its best length, compared by replicates.

    The length is the arm's best on the selection split. Where no arm has replicates, the selection
    split decides about arms too.

    Raises:
        RecordError: no trial of that regime has finished a length.
    """
    largest = max(findings.regimes, key=lambda regime: regime.num_images)
    points = _best_points(largest)
    if not points:
        must = f"must have a finished length in its regime {largest.name}"
        raise RecordError(explain(directory.address, must, "none yet", "Let the study run."))
    replicated = [(cell, point) for cell, point in points if point.mean is not None]
    cell, point = max(replicated or points, key=lambda pair: _merit(pair[1]))
    view = StudyView(directory.study, directory.load_state(), directory.facts)
    for search in searches_of(directory.study):
        if (search.regime, search.arm) != (cell.regime, cell.arm):
            continue
        for member in view.cell(search).members("search"):
            if member.trial_id == point.incumbent:
                return RungOrigin(cell=search, member=member, length=point.length)
    raise AssertionError("an incumbent is a search trial of its cell")


def _best_points(regime: RegimeResult) -> list[tuple[CellResult, CurvePoint]]:
    """Each arm of a regime at its best length, if it has one."""
    points = []
    for cell in regime.cells:
        point = None if cell.best_length is None else cell.point(cell.best_length)
        if point is not None:
            points.append((cell, point.of_incumbent))
    return points


def _merit(point: CurvePoint) -> float:
    if point.mean is not None:
        return point.mean.value
    return float("-inf") if point.select is None else point.select
