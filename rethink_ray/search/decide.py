"""What a study runs next, as a pure function of the study and its records.

The decision does not depend on the clock, the cluster or the order in which jobs finish. All that a
``Decider`` keeps between calls saves time: a fresh one decides the same.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

from rethink_ray.protocol.cell_view import CellView, StudyView
from rethink_ray.records.state import StudyState
from rethink_ray.search.cell import CellSearch
from rethink_ray.search.jobs import Decision
from rethink_ray.search.looks import LookTaker, judge_look, take_due_look
from rethink_ray.search.open_jobs import OpenJobs
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.study import Study

Counts = tuple[int, int, int, int, int]
"""Version, rungs, ended trials, assets and looks of the records."""
NO_RECORDS: Counts = (-1, 0, 0, 0, 0)


class Decider:
    """Decides for one study; a cell is decided again only if its records changed."""

    def __init__(
        self,
        study: Study,
        facts: DataFacts,
        *,
        propose: bool = True,
        look_taker: LookTaker = judge_look,
    ) -> None:
        """``look_taker`` decides which cells run on, where replicates wait for a decision.

        Without ``propose`` no values are sampled: the trials of due rounds are only counted.
        """
        self._look_taker = look_taker
        self.view = StudyView(study, StudyState(), facts)
        """The state of the study at the last decision."""
        self._cells = [CellSearch(view, propose=propose) for view in self.view.searches]
        index_of = {search.view.cell: index for index, search in enumerate(self._cells)}
        self._sources = [[index_of[c] for c in s.view.rules.sources] for s in self._cells]
        self._dependents: dict[int, list[int]] = defaultdict(list)
        for index, sources in enumerate(self._sources):
            for source in sources:
                self._dependents[source].append(index)
        self._depth = [self._depth_of(index) for index in range(len(self._cells))]
        self._seen = NO_RECORDS
        """The records at the last decision."""
        self._decision: Decision | None = None
        self._forget()

    def next_jobs(self, state: StudyState) -> Decision:
        """Everything that may run now, and the events to record before it does."""
        if state is not self.view.state or state.version < self._seen[0]:
            self.view.read(state)
            self._forget()
        if self._decision is None or state.version != self._seen[0]:
            for index in self._changed(state):
                self._decide_cell(index)
            self._seen = _counts(state)
            self._decision = self._put_together(state)
        return self._decision

    def _depth_of(self, index: int) -> int:
        """How many cells in a row must be searched before this one; ``spec`` refuses circles."""
        return max((1 + self._depth_of(source) for source in self._sources[index]), default=0)

    def _forget(self) -> None:
        """Drop everything that came from records."""
        self._seen = NO_RECORDS
        self._decision = None
        self._is_decided = False
        """Each cell has been decided once."""
        self._owners: dict[str, set[int]] = defaultdict(set)
        """Trial id -> indices of the cells that proposed it."""
        self._num_rounds = [0] * len(self._cells)
        self._has_shared_trials = False
        self._open_jobs = OpenJobs()
        self.view.forget()
        for search in self._cells:
            search.forget()

    def _changed(self, state: StudyState) -> Sequence[int]:
        """Indices of the cells to decide again, each after the cells that it waits for."""
        version, rungs, ended, assets, looks = _counts(state)
        if not self._is_decided or looks != self._seen[4]:
            self._is_decided = True
            return sorted(range(len(self._cells)), key=lambda i: self._depth[i])
        new_rungs, new_ended = rungs - self._seen[1], ended - self._seen[2]
        new_assets = assets - self._seen[3]
        cells: set[int] = set()
        # dicts keep the order of insertion, so new entries are the last ones
        for trial_id, _ in islice(reversed(state.rungs), new_rungs):
            cells |= self._owners.get(trial_id, set())
        for trial_id in islice(reversed(state.ended), new_ended):
            cells |= self._owners.get(trial_id, set())
        if new_assets:
            cells |= self._open_jobs.waiting_for_assets
        if new_rungs + new_ended + new_assets != version - self._seen[0]:
            cells |= {i for i in range(len(self._cells)) if self._has_new_rounds(i)}
        new = cells
        while new:
            new = {other for index in new for other in self._dependents.get(index, ())} - cells
            cells |= new
        return sorted(cells, key=lambda i: (self._depth[i], i))

    def _has_new_rounds(self, index: int) -> bool:
        return _count_rounds(self._cells[index].view) != self._num_rounds[index]

    def _decide_cell(self, index: int) -> None:
        search = self._cells[index]
        if self._has_new_rounds(index):
            self._note_trials(index)
        self._open_jobs.put(index, search.view.cell.name, search.decide())

    def _note_trials(self, index: int) -> None:
        """Note that the trials of a cell's recorded rounds are this cell's."""
        view = self._cells[index].view
        self._num_rounds[index] = _count_rounds(view)
        seen: set[str] = set()
        for member in (*view.members("search"), *view.members("replicate")):
            owners = self._owners[member.trial_id]
            owners.add(index)
            self._has_shared_trials |= len(owners) > 1 or member.trial_id in seen
            seen.add(member.trial_id)

    def _put_together(self, state: StudyState) -> Decision:
        jobs = self._open_jobs.jobs(once_per_trial=self._has_shared_trials)
        retries = self.view.study.resources.retries
        over = {job_id for job_id, failures in state.failures.items() if failures > retries}
        blocked: tuple[str, ...] = ()
        if over:
            blocked = tuple(job.job_id for job in jobs if job.job_id in over)
            jobs = tuple(job for job in jobs if job.job_id not in over)
        is_all_in = self._open_jobs.num_done == len(self._cells)
        look = take_due_look(self.view, self._look_taker) if is_all_in else None
        return Decision(
            rounds=self._open_jobs.rounds(),
            ends=self._open_jobs.ends(),
            jobs=jobs,
            done=is_all_in and look is None,
            blocked=blocked,
            unproposed=self._open_jobs.unproposed,
            look=look,
        )


def _counts(state: StudyState) -> Counts:
    results = len(state.rungs), len(state.ended), len(state.assets)
    return state.version, *results, len(state.looks)


def _count_rounds(view: CellView) -> int:
    return len(view.rounds("search")) + len(view.rounds("replicate"))
