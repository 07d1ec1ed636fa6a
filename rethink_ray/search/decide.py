"""What runs next, as a pure function of a study and its records.

It knows no clock, no cluster and no order of arrival. What it remembers between calls only saves
time: a fresh ``Decider`` on the same records decides the same.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

from rethink_ray.records.state import StudyState
from rethink_ray.search.cell import CellSearch
from rethink_ray.search.jobs import Decision
from rethink_ray.search.open_jobs import Asking
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell, searches_of
from rethink_ray.spec.study import Study

Counts = tuple[int, int, int, int]


class Decider:
    """Decides for one study; cells whose records did not change are not looked at again."""

    def __init__(self, study: Study, facts: DataFacts, *, propose: bool = True) -> None:
        """Without ``propose`` new search rounds are only counted, which asks no sampler."""
        self._study = study
        self._cells = [CellSearch(study, c, facts, propose=propose) for c in searches_of(study)]
        place = {search.cell: index for index, search in enumerate(self._cells)}
        self._waits_for = [[place[cell] for cell in c.waits_for] for c in self._cells]
        self._place = place
        self._waiting: dict[int, list[int]] = defaultdict(list)
        for index, sources in enumerate(self._waits_for):
            for source in sources:
                self._waiting[source].append(index)
        self._depth = [self._depth_of(index) for index in range(len(self._cells))]
        self._state: StudyState | None = None
        self._seen: Counts = (-1, 0, 0, 0)
        self._decision: Decision | None = None
        self._start_over(None)

    def next_jobs(self, state: StudyState) -> Decision:
        """Everything that may run now, and what has to be recorded before it does."""
        if state is not self._state or state.version < self._seen[0]:
            self._start_over(state)
        if self._decision is None or state.version != self._seen[0]:
            for index in self._changed(state):
                self._decide_cell(state, index)
            self._seen = _counts(state)
            self._decision = self._put_together(state)
        return self._decision

    def _depth_of(self, index: int) -> int:
        """How many cells in a row must be searched before this one; ``spec`` refuses circles."""
        return max((1 + self._depth_of(source) for source in self._waits_for[index]), default=0)

    def _start_over(self, state: StudyState | None) -> None:
        """Forget everything that came from records."""
        self._state = state
        self._seen = (-1, 0, 0, 0)
        self._decision = None
        self._searched: dict[int, bool] = {}
        self._owners: dict[str, set[int]] = defaultdict(set)
        self._num_rounds = [0] * len(self._cells)
        self._shared_trials = False
        self._asking = Asking()
        for search in self._cells:
            search.forget()

    def _changed(self, state: StudyState) -> Sequence[int]:
        """Cells to look at again, each after those that it waits for."""
        if not self._searched:
            return sorted(range(len(self._cells)), key=lambda i: self._depth[i])
        version, rungs, ended, assets = _counts(state)
        new_rungs, new_ended = rungs - self._seen[1], ended - self._seen[2]
        new_assets = assets - self._seen[3]
        cells: set[int] = set()
        # dicts keep the order of insertion, so what is new stands at the end
        for trial_id, _ in islice(reversed(state.rungs), new_rungs):
            cells |= self._owners.get(trial_id, set())
        for trial_id in islice(reversed(state.ended), new_ended):
            cells |= self._owners.get(trial_id, set())
        if new_assets:
            cells |= self._asking.waiting_for_assets
        if new_rungs + new_ended + new_assets != version - self._seen[0]:
            cells |= {i for i in range(len(self._cells)) if self._rounds_in(state, i)}
        new = cells
        while new:
            new = {waiting for index in new for waiting in self._waiting.get(index, ())} - cells
            cells |= new
        return sorted(cells, key=lambda i: (self._depth[i], i))

    def _rounds_in(self, state: StudyState, index: int) -> bool:
        return _num_rounds(state, self._cells[index]) != self._num_rounds[index]

    def _decide_cell(self, state: StudyState, index: int) -> None:
        search = self._cells[index]
        if _num_rounds(state, search) != self._num_rounds[index]:
            self._own(state, index)
        decision = search.decide(
            state, self._is_searched(search.source), self._is_searched(search.teacher)
        )
        self._searched[index] = decision.searched
        self._asking.put(index, search.cell.name, decision)

    def _is_searched(self, cell: Cell | None) -> bool:
        return cell is not None and self._searched[self._place[cell]]

    def _own(self, state: StudyState, index: int) -> None:
        """Note whose trials a cell's recorded rounds are."""
        search = self._cells[index]
        self._num_rounds[index] = _num_rounds(state, search)
        seen: set[str] = set()
        for purpose in ("search", "replicate"):
            for proposed in state.rounds.get((search.cell, purpose), {}).values():
                for member in proposed.members:
                    owners = self._owners[member.trial_id]
                    owners.add(index)
                    self._shared_trials |= len(owners) > 1 or member.trial_id in seen
                    seen.add(member.trial_id)

    def _put_together(self, state: StudyState) -> Decision:
        jobs = self._asking.jobs(once_per_trial=self._shared_trials)
        retries = self._study.resources.retries
        over = {job_id for job_id, failures in state.failures.items() if failures > retries}
        blocked: tuple[str, ...] = ()
        if over:
            blocked = tuple(job.job_id for job in jobs if job.job_id in over)
            jobs = tuple(job for job in jobs if job.job_id not in over)
        return Decision(
            rounds=self._asking.rounds(),
            ends=self._asking.ends(),
            jobs=jobs,
            done=self._asking.num_done == len(self._cells),
            blocked=blocked,
            unproposed=self._asking.unproposed,
        )


def _counts(state: StudyState) -> Counts:
    return state.version, len(state.rungs), len(state.ended), len(state.assets)


def _num_rounds(state: StudyState, search: CellSearch) -> int:
    searched = state.rounds.get((search.cell, "search"), {})
    return len(searched) + len(state.rounds.get((search.cell, "replicate"), {}))
