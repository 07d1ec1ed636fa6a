"""The one configuration of a study that ``export --final`` trains on all labelled pictures."""

from rethink_ray.analysis.export import RungOrigin
from rethink_ray.analysis.findings import Findings
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.resolve import searches_of


def choose_recommended(directory: StudyDirectory, findings: Findings) -> RungOrigin:
    """What the study's answer recommends for its largest regime.

    Raises:
        RecordError: the answer recommends nothing there; the message says why.
    """
    largest = max(findings.answer.regimes, key=lambda regime: regime.num_images)
    best = largest.recommended
    if best is None:
        must = f"must have an answer for its regime {largest.regime}"
        raise RecordError(explain(directory.address, must, largest.paragraph))
    view = StudyView(directory.study, directory.load_state(), directory.facts)
    for search in searches_of(directory.study):
        if (search.regime, search.arm) != (largest.regime, best.arm):
            continue
        for member in view.cell(search).members("search"):
            if member.trial_id == best.trial_id:
                return RungOrigin(cell=search, member=member, length=best.length)
    raise AssertionError("a recommended configuration is a search trial of its cell")
