"""How far a study is, cell by cell: what the live table and ``status`` show."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rethink_ray.protocol.convergence import Convergence, convergence_of
from rethink_ray.protocol.incumbents import (
    is_repeated,
    report_metric,
    selection_metric,
    worst_score,
)
from rethink_ray.protocol.status import StateName, TrialStatus, trial_statuses
from rethink_ray.protocol.teachers import teacher_cell
from rethink_ray.records.state import StudyState
from rethink_ray.spec.resolve import Cell, copied_cell, lengths_of, searches_of, space_of
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class CellProgress:
    """One search of a cell: trials by state, rungs by length, and the best so far."""

    cell: Cell
    budget: int
    """Search trials this cell may propose (a cell with nothing to tune proposes fewer)."""
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
    """Under the incumbents that stand now; more come if another trial takes the lead."""
    convergence: Convergence | None = None
    """Where its ladder ended, once all its search trials are over; None: it may not end early."""

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
        """Search trials that wait, or are not proposed yet."""
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
    """Job id -> reason of its last machine failure since the study was last continued, for jobs
    that have not ended well since."""
    running: tuple[str, ...]
    """Job ids that slots are working on, as far as the caller knows."""
    elapsed: float
    """Seconds the study was run for, all runs together (or what the caller says)."""
    seconds_spent: float
    """Seconds of training and scoring, all slots together."""
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
        """Nothing is left to run."""
        return not (self.search_to_go or self.replicates_to_go)


def progress_of(
    study: Study, state: StudyState, *, running: Iterable[str] = (), elapsed: float | None = None
) -> StudyProgress:
    """How far ``study`` is according to its records.

    Args:
        study: the study.
        state: its records.
        running: job ids that slots are working on.
        elapsed: seconds since a run began; None: those of all runs, by the records.
    """
    spent = sum(r.seconds_train + r.seconds_score for r in state.rungs.values())
    return StudyProgress(
        cells=tuple(_cell_progress(study, state, cell) for cell in searches_of(study)),
        assets=len(state.assets),
        refused_assets=sum(bool(asset.refused) for asset in state.assets.values()),
        failures={
            job_id: state.last_failure[job_id].reason
            for job_id, count in sorted(state.failures.items())
            if count and _is_open(state, job_id)
        },
        running=tuple(running),
        elapsed=seconds_run(state) if elapsed is None else elapsed,
        seconds_spent=spent + sum(asset.seconds for asset in state.assets.values()),
        study=study.study,
        select_on=study.data.select_split,
        report_on=study.data.report_on,
    )


def seconds_run(state: StudyState) -> float:
    """Wall time from the first record to the last, without what lay between two runs."""
    known = (
        *(r.at for rounds in state.rounds.values() for r in rounds.values()),
        *(rung.at for rung in state.rungs.values()),
        *(end.at for end in state.ended.values()),
        *(asset.at for asset in state.assets.values()),
        *(start.at for start in state.started.values()),
        *(failure.at for failure in state.last_failure.values()),
    )
    times = sorted(at for at in known if at)
    if not times:
        return 0.0
    idle = 0.0
    for resumed in state.resumed:
        before = bisect_left(times, resumed.at)
        if 0 < before < len(times):
            idle += resumed.at - times[before - 1]
    return times[-1] - times[0] - idle


def _is_open(state: StudyState, job_id: str) -> bool:
    """Whether the records lack what a job (``<trial id>-<length>x``, ``asset-<key>``) was for."""
    if job_id.startswith("asset-"):
        return job_id.removeprefix("asset-") not in state.assets
    trial_id, _, target = job_id.rpartition("-")
    finished = any(of == trial_id and f"{length:g}x" == target for of, length in state.rungs)
    return not finished and trial_id not in state.ended


def _cell_progress(study: Study, state: StudyState, cell: Cell) -> CellProgress:
    fates = trial_statuses(study, state, cell)
    ladder = lengths_of(study, cell)
    search = [f for f in fates if f.purpose == "search"]
    replicates = [f for f in fates if f.purpose == "replicate"]
    rungs = {
        length: sum((f.member.trial_id, length) in state.rungs for f in fates) for length in ladder
    }
    best = {
        length: values[-1]
        for length in ladder
        if (values := sorted(_values(state, search, length, selection_metric(study))))
    }
    leader = {length: f.member.trial_id for f in search for length in f.incumbent_for}
    reported = {
        length: values
        for length in ladder
        if (values := _reported(study, state, replicates, length, leader.get(length)))
    }
    budget = _budget(study, state, cell, len(search))
    searching = len(search) < budget or any(f.state == "waiting" for f in search)
    return CellProgress(
        cell=cell,
        budget=budget,
        search=Counter(f.state for f in search),
        replicates=Counter(f.state for f in replicates),
        rungs=rungs,
        best=best,
        reported={length: sum(values) / len(values) for length, values in reported.items()},
        searched={
            length: sum((f.member.trial_id, length) in state.rungs for f in search)
            for length in ladder
        },
        repeated={length: len(values) for length, values in reported.items()},
        convergence=None if searching else convergence_of(study, state, cell),
        replicates_to_go=(
            _replicates_to_go(study, state, search, replicates)
            if leader
            else study.budget.replicates * searching  # of one incumbent, once there is one
        ),
    )


def _budget(study: Study, state: StudyState, cell: Cell, proposed: int) -> int:
    """Search trials a cell runs; with nothing to tune, one says all a search can."""
    copied = copied_cell(study, cell)
    sources = [source for source in (teacher_cell(study, cell), copied) if source is not None]
    if not proposed and any(_found_nothing(study, state, source) for source in sources):
        return 0
    if copied is not None:
        return max(1, proposed)  # one for each distinct incumbent of the arm it copies
    return study.budget.trials if space_of(study, cell) else 1


def _found_nothing(study: Study, state: StudyState, cell: Cell) -> bool:
    """Its search is over without an incumbent: whoever waits for one has nothing to run."""
    search = [f for f in trial_statuses(study, state, cell) if f.purpose == "search"]
    if any(f.state == "waiting" or f.incumbent_for for f in search):
        return False
    return len(search) >= _budget(study, state, cell, len(search))


def _replicates_to_go(
    study: Study, state: StudyState, search: list[TrialStatus], replicates: list[TrialStatus]
) -> int:
    """Of every incumbent that gets any."""
    done = Counter(f.member.of for f in replicates if f.state != "waiting")
    repeated = [f for f in search if f.incumbent_for and is_repeated(state, f.member)]
    return sum(max(0, study.budget.replicates - done[f.member.trial_id]) for f in repeated)


def _reported(
    study: Study,
    state: StudyState,
    replicates: Iterable[TrialStatus],
    length: float,
    incumbent: str | None,
) -> list[float]:
    """The scores a finding at this length would rest on; what the method ended is the worst."""
    found = []
    for fate in replicates:
        if incumbent is None or fate.member.of != incumbent:
            continue
        value = state.metric(fate.member.trial_id, length, report_metric(study))
        if value is not None and math.isfinite(value):
            found.append(value)
        elif fate.member.trial_id in state.ended:
            found.append(worst_score(study))
    return found


def _values(
    state: StudyState, fates: Iterable[TrialStatus], length: float, metric: str
) -> list[float]:
    found = (state.metric(f.member.trial_id, length, metric) for f in fates)
    return [value for value in found if value is not None and math.isfinite(value)]
