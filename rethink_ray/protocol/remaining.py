"""How far a study has come, cell by cell: the live table and ``status`` show it."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rethink_ray.protocol.cell_view import CellView, StudyView
from rethink_ray.protocol.convergence import Convergence
from rethink_ray.protocol.incumbents import WORST_SCORE, report_metric
from rethink_ray.protocol.look_words import describe_looks
from rethink_ray.protocol.status import StateName, TrialStatus
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class CellProgress:
    """One search of a cell: trials by state, rungs by length, and the best so far."""

    cell: Cell
    budget: int
    """Search trials that this cell runs, those that are yet to be proposed included."""
    search: Mapping[StateName, int]
    replicates: Mapping[StateName, int]
    rungs: Mapping[float, int]
    """Length -> finished rungs, replicates included; every length of the ladder has an entry."""
    best: Mapping[float, float]
    """Length -> best ``select_on`` value of a search trial."""
    reported: Mapping[float, float]
    """Length -> mean ``report_on`` value over the replicates of that length's incumbent."""
    searched: Mapping[float, int]
    """Length -> search trials that finished it."""
    repeated: Mapping[float, int]
    """Length -> replicates behind ``reported``."""
    replicates_to_go: int
    """Replicates that the current incumbents still need; more if another trial becomes one."""
    convergence: Convergence | None = None
    """Where its ladder ended, once its search is over; None where it may not end early."""

    @property
    def proposed(self) -> int:
        """Search trials that were sampled so far."""
        return sum(self.search.values())

    @property
    def search_done(self) -> int:
        """Search trials that run no further."""
        return self.proposed - self.search.get("waiting", 0)

    @property
    def search_to_go(self) -> int:
        """Search trials that wait, or are yet to be proposed."""
        return max(0, self.budget - self.search_done)

    @property
    def replicates_done(self) -> int:
        """Replicates that run no further."""
        return sum(self.replicates.values()) - self.replicates.get("waiting", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyProgress:
    """The state of a whole study."""

    cells: tuple[CellProgress, ...]
    """One for each search of each cell."""
    assets: int
    refused_assets: int
    failures: Mapping[str, str]
    """Job id -> reason of its last machine failure since the study was last continued; jobs that
    have ended well since are left out."""
    running: tuple[str, ...]
    """Ids of the jobs that slots are working on, where the caller gave them."""
    elapsed: float
    """Seconds for which the study ran, all runs together, unless the caller gave a number."""
    seconds_spent: float
    """Seconds of training and scoring, all slots together."""
    most_search_to_go: int = 0
    """Search trials still to finish if all looks to come let their cells run on."""
    most_replicates_to_go: int = 0
    """Replicates still to finish, likewise: a lower bound while ``search_to_go`` is not 0."""
    is_look_due: bool = False
    """Everything up to the next look is in, and it is taken once the study goes on."""
    is_before_first_look: bool = False
    """Looks decide its findings, and none was taken yet."""
    looks: tuple[str, ...] = ()
    """What the looks so far say, as sentences; none where replicates are a plain number."""
    study: str = ""
    select_on: str = "select"
    report_on: str = "report"

    @property
    def rungs(self) -> int:
        """Finished rungs of all cells."""
        return sum(sum(cell.rungs.values()) for cell in self.cells)

    @property
    def search_to_go(self) -> int:
        """Search trials still to finish."""
        return sum(cell.search_to_go for cell in self.cells)

    @property
    def replicates_to_go(self) -> int:
        """Replicates still to finish: a lower bound while ``search_to_go`` is not 0."""
        return sum(cell.replicates_to_go for cell in self.cells)

    @property
    def complete(self) -> bool:
        """Nothing is left to run, and no look is due."""
        return not (self.search_to_go or self.replicates_to_go or self.is_look_due)


def progress_of(
    study: Study, state: StudyState, *, running: Iterable[str] = (), elapsed: float | None = None
) -> StudyProgress:
    """How far a study has come, by its records.

    Args:
        study: the study.
        state: its records.
        running: job ids that slots are working on.
        elapsed: seconds since a run began; None: those of all runs, from the records.
    """
    metric = report_metric(study)
    spent = sum(r.seconds_train + r.seconds_score for r in state.rungs.values())
    view = StudyView(study, state)
    cells = tuple(_cell_progress(search, metric) for search in view.searches if search.is_needed)
    to_go = sum(cell.search_to_go + cell.replicates_to_go for cell in cells)
    return StudyProgress(
        cells=cells,
        assets=len(state.assets),
        refused_assets=sum(bool(asset.refused) for asset in state.assets.values()),
        failures={
            job_id: state.last_failure[job_id].reason
            for job_id, count in sorted(state.failures.items())
            if count and _is_open(state, job_id)
        },
        running=tuple(running),
        most_search_to_go=sum(search.most_search_to_go for search in view.searches),
        most_replicates_to_go=sum(search.most_replicates_to_go for search in view.searches),
        is_look_due=view.looks is not None and view.looks.due is not None and not to_go,
        is_before_first_look=view.looks is not None and not view.looks.taken,
        looks=() if view.looks is None else tuple(describe_looks(view.looks)),
        elapsed=seconds_run(state) if elapsed is None else elapsed,
        seconds_spent=spent + sum(asset.seconds for asset in state.assets.values()),
        study=study.study,
        select_on=study.data.select_split,
        report_on=study.data.report_split,
    )


def seconds_run(state: StudyState) -> float:
    """Wall time from the first record to the last, without the time between two runs."""
    recorded = (
        *(r.at for rounds in state.rounds.values() for r in rounds.values()),
        *(rung.at for rung in state.rungs.values()),
        *(end.at for end in state.ended.values()),
        *(asset.at for asset in state.assets.values()),
        *(start.at for start in state.started.values()),
        *(failure.at for failure in state.last_failure.values()),
    )
    times = sorted(at for at in recorded if at)
    if not times:
        return 0.0
    idle = 0.0
    for resumed in state.resumed:
        before = bisect_left(times, resumed.at)
        if 0 < before < len(times):
            idle += resumed.at - times[before - 1]
    return times[-1] - times[0] - idle


def _is_open(state: StudyState, job_id: str) -> bool:
    """Whether the rung or asset of a job is missing from the records.

    Job ids are ``<trial id>-<length>x`` and ``asset-<key>``.
    """
    if job_id.startswith("asset-"):
        return job_id.removeprefix("asset-") not in state.assets
    trial_id, _, target = job_id.rpartition("-")
    finished = any(of == trial_id and f"{length:g}x" == target for of, length in state.rungs)
    return not finished and trial_id not in state.ended


def _cell_progress(view: CellView, report_metric: str) -> CellProgress:
    state, lengths, metric = view.state, view.ladder.lengths, view.ladder.metric
    search = [s for s in view.statuses if s.purpose == "search"]
    replicates = [s for s in view.statuses if s.purpose == "replicate"]
    reported = {
        length: scores
        for length, incumbent in view.incumbents.items()
        if (scores := _replicate_scores(state, replicates, incumbent, length, report_metric))
    }
    return CellProgress(
        cell=view.cell,
        budget=len(search) + (view.num_unproposed if view.is_needed else 0),
        search=Counter(s.state for s in search),
        replicates=Counter(s.state for s in replicates),
        rungs={x: _count_finished(state, view.statuses, x) for x in lengths},
        best={
            length: max(scores)
            for length in lengths
            if (scores := _search_scores(state, search, length, metric))
        },
        reported={length: sum(scores) / len(scores) for length, scores in reported.items()},
        searched={length: _count_finished(state, search, length) for length in lengths},
        repeated={length: len(scores) for length, scores in reported.items()},
        convergence=None if view.search_to_go else view.convergence,
        replicates_to_go=view.replicates_to_go,
    )


def _count_finished(state: StudyState, statuses: Iterable[TrialStatus], length: float) -> int:
    return sum((s.member.trial_id, length) in state.rungs for s in statuses)


def _search_scores(
    state: StudyState, search: Iterable[TrialStatus], length: float, metric: str
) -> list[float]:
    scores = (state.metric(s.member.trial_id, length, metric) for s in search)
    return [score for score in scores if score is not None and math.isfinite(score)]


def _replicate_scores(
    state: StudyState,
    replicates: Iterable[TrialStatus],
    incumbent: Member,
    length: float,
    metric: str,
) -> list[float]:
    """The scores that a finding at this length would rest on; a failed replicate has the worst."""
    scores = []
    for status in replicates:
        if status.member.of != incumbent.trial_id:
            continue
        score = state.metric(status.member.trial_id, length, metric)
        if score is not None and math.isfinite(score):
            scores.append(score)
        elif status.member.trial_id in state.ended:
            scores.append(WORST_SCORE)
    return scores
