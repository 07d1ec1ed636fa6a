"""Answers every question about the state of a study, by its rules and its records.

``StudyView(study, state).cell(cell)`` is a ``CellView``: its ladder, halving, incumbents, audit,
replicates, statuses and the runs that are left. Answers are cached until the records grow. That is
safe because records are only ever added.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from rethink_ray.protocol.audit import choose_audited
from rethink_ray.protocol.cell_rules import CellRules
from rethink_ray.protocol.convergence import Convergence, derive_convergence
from rethink_ray.protocol.from_records import FromRecords
from rethink_ray.protocol.halving import HalvingState, Ladder, replay_halving
from rethink_ray.protocol.incumbents import (
    distinct_members,
    is_repeated,
    match_copies,
    rank_incumbents,
)
from rethink_ray.protocol.looks import StudyLooks, derive_looks
from rethink_ray.protocol.search_end import SearchEnd, count_unproposed
from rethink_ray.protocol.status import SearchOutcome, TrialStatus, derive_statuses
from rethink_ray.protocol.teachers import Teacher, build_teacher, find_recorded
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member, Purpose, RoundProposed
from rethink_ray.spec.draws import draw_of, redraws
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell, CellResolver, TrialConfig, searches_of
from rethink_ray.spec.space import Value
from rethink_ray.spec.study import Study


class StudyView:
    """A study and its records, cell by cell."""

    def __init__(self, study: Study, state: StudyState, facts: DataFacts | None = None) -> None:
        """``facts`` are needed only where configurations are resolved."""
        self.study = study
        self.state = state
        self._facts = facts
        self._views: dict[Cell, CellView] = {}
        self._looks: StudyLooks | None = None
        self._num_looks = -1
        """Looks that ``_looks`` was read from; -1: it has not been read."""

    @property
    def facts(self) -> DataFacts:
        """The facts of the study's data set."""
        assert self._facts is not None, "configurations are resolved with the facts of the data"
        return self._facts

    def cell(self, cell: Cell) -> "CellView":
        """The view of one search of one cell: always the same object."""
        if cell not in self._views:
            self._views[cell] = CellView(self, cell)
        return self._views[cell]

    @property
    def searches(self) -> tuple["CellView", ...]:
        """The view of every search of every cell, in the study's order."""
        return tuple(self.cell(cell) for cell in searches_of(self.study))

    @property
    def looks(self) -> StudyLooks | None:
        """The looks that were taken; None: replicates and searches are plain numbers."""
        if len(self.state.looks) != self._num_looks:
            self._looks = derive_looks(self.study, self.state.looks.values())
            self._num_looks = len(self.state.looks)
        return self._looks

    def read(self, state: StudyState) -> None:
        """Use these records from now on. If they are another object, cached answers are dropped."""
        if state is not self.state:
            self.state = state
            self.forget()

    def forget(self) -> None:
        """Drop every answer that came from records."""
        self._num_looks = -1
        for view in self._views.values():
            view.forget()


class PendingRun(NamedTuple):
    """A recorded trial, and the lengths that it has still to run."""

    member: Member
    lengths: tuple[float, ...]


class CellView:
    """What the records say about one search of one cell, by the rules of its study."""

    def __init__(self, owner: StudyView, cell: Cell) -> None:
        self.cell = cell
        self.study = owner.study
        self.rules = CellRules(owner.study, cell)
        self._owner = owner
        self.forget()

    def forget(self) -> None:
        """Drop every answer that came from records."""
        self.answers: dict[str, tuple[int, Any]] = {}
        """Name of a property -> the version of the records it was derived from, and its value."""
        self._halving: dict[int, HalvingState] = {}
        self._is_search_over = False
        self._final_incumbents: Mapping[float, Member] | None = None
        self._recorded_teacher: Teacher | None = None

    @property
    def state(self) -> StudyState:
        """The records."""
        return self._owner.state

    @property
    def ladder(self) -> Ladder:
        """The schedule lengths, and how many trials of a round run each of them."""
        return self.rules.ladder

    @cached_property
    def source(self) -> "CellView | None":
        """The cell whose values this one copies; None: it searches for itself."""
        copied = self.rules.copied
        return None if copied is None else self._owner.cell(copied)

    def rounds(self, purpose: Purpose) -> Mapping[int, RoundProposed]:
        """Number -> recorded round."""
        return self.state.rounds.get((self.cell, purpose), {})

    def members(self, purpose: Purpose) -> list[Member]:
        """The recorded trials, in the order in which they were proposed."""
        return [member for _, member in self.state.members(self.cell, purpose)]

    @FromRecords
    def halving(self) -> dict[int, HalvingState]:
        """Search round -> how far its halving has come; empty where values are copied."""
        if self.rules.copied is not None:
            return {}
        halving: dict[int, HalvingState] = {}
        for number, proposed in sorted(self.rounds("search").items()):
            before = self._halving.get(number)
            if before is None or not before.is_decided:
                before = replay_halving(self.state, self.ladder, proposed.members, before)
            halving[number] = before
        self._halving = halving
        return halving

    @FromRecords
    def audited(self) -> tuple[Member, ...]:
        """Trials of the first round that halving stopped and that the audit trains to the end.

        None until the round is decided.
        """
        if 0 not in self.halving:
            return ()
        draw = f"{self.study.seed}|{self.cell.name}|audit"
        num = self.rules.num_audited
        return choose_audited(self.state, self.ladder, self.halving[0], num, draw)

    @property
    def incumbents(self) -> Mapping[float, Member]:
        """Length -> best search trial there, so far; final once the search is over."""
        return self._final_incumbents or self._current_incumbents

    @FromRecords
    def _current_incumbents(self) -> dict[float, Member]:
        lengths = self.ladder.lengths
        if self.source is not None:
            return match_copies(self.source.incumbents, self.members("search"), lengths)
        return rank_incumbents(self.state, self.members("search"), lengths, self.ladder.metric)

    @FromRecords
    def outcome(self) -> SearchOutcome:
        """What halving, audit and ranking have decided so far."""
        return SearchOutcome(
            ladder=self.ladder,
            halving=self.halving,
            audited=frozenset(member.trial_id for member in self.audited),
            incumbents=self.incumbents,
            is_copy=self.source is not None,
        )

    @FromRecords
    def statuses(self) -> tuple[TrialStatus, ...]:
        """What became of every trial: search before replicates."""
        return derive_statuses(self.state, self.cell, self.outcome)

    @FromRecords
    def convergence(self) -> Convergence | None:
        """Where the ladder ended; None while a round runs, and where it may not end early."""
        return derive_convergence(self.state, self.ladder, self.halving.values())

    @FromRecords
    def pending_search(self) -> tuple[PendingRun, ...]:
        """Search trials that can run on now: those that halving waits for, and those of the audit.

        A copied trial runs up to the length that it is incumbent for, once the source's search is
        over.
        """
        if self._is_search_over:
            return ()
        pending: list[PendingRun | None] = []
        for number, halving in self.halving.items():
            index = len(halving.steps) - 1
            for member in halving.waiting:
                pending.append(PendingRun(member, (self.ladder.lengths_of(member)[index],)))
            if number == 0:
                lengths = halving.lengths(self.ladder)
                pending += [self._pending(member, lengths) for member in self.audited]
        if self.source is not None and self.source.is_search_over:
            pending += [self._pending_to_goal(m, "search") for m in self.members("search")]
        return tuple(run for run in pending if run is not None)

    @FromRecords
    def pending_replicates(self) -> tuple[PendingRun, ...]:
        """Recorded replicates that have not reached the longest length of their incumbent."""
        pending = [self._pending_to_goal(m, "replicate") for m in self.members("replicate")]
        return tuple(run for run in pending if run is not None)

    def _pending_to_goal(self, member: Member, purpose: Purpose) -> PendingRun | None:
        goal = self.outcome.goal_of(member, purpose, 0)
        lengths = tuple(x for x in self.ladder.lengths_of(member) if x <= goal)
        return self._pending(member, lengths)

    def _pending(self, member: Member, lengths: tuple[float, ...]) -> PendingRun | None:
        """What a trial lacks of these lengths; None if it lacks nothing, or has ended."""
        lacking = tuple(x for x in lengths if (member.trial_id, x) not in self.state.rungs)
        if not lacking or member.trial_id in self.state.ended:
            return None
        return PendingRun(member, lacking)

    @property
    def sources(self) -> tuple["CellView", ...]:
        """The cells whose searches must be over before this one begins."""
        return tuple(self._owner.cell(cell) for cell in self.rules.sources)

    @property
    def search_end(self) -> SearchEnd:
        """The state of this search, for the cells that wait for it."""
        ids = frozenset(member.trial_id for member in self.incumbents.values())
        return SearchEnd(is_over=self.is_search_over, incumbents=ids)

    @FromRecords
    def num_unproposed(self) -> int:
        """Search trials that are yet to be proposed; at least 1 while a copied cell searches."""
        members = self.members("search")
        sources = {source.cell: source.search_end for source in self.sources}
        return count_unproposed(self.rules, len(members), {m.of for m in members}, sources)

    @property
    def is_search_over(self) -> bool:
        """No search trial is left to propose or to run: the incumbents are final."""
        if not (self._is_search_over or self.pending_search or self.num_unproposed):
            self._final_incumbents = self._current_incumbents
            self._is_search_over = True
        return self._is_search_over

    @property
    def is_round_due(self) -> bool:
        """All rounds so far are decided, and the cell is to propose another one itself."""
        is_decided = all(halving.is_decided for halving in self.halving.values())
        return self.source is None and is_decided and self.num_unproposed > 0

    @property
    def is_needed(self) -> bool:
        """This search has to run, by the looks so far."""
        return self._owner.looks is None or self._owner.looks.needs_search(self.cell)

    @property
    def num_replicates(self) -> int:
        """Replicates that each incumbent has to have, by the looks so far."""
        looks = self._owner.looks
        return self.rules.num_replicates if looks is None else looks.count_replicates(self.cell)

    @property
    def search_to_go(self) -> int:
        """Number of search trials that wait, or are yet to be proposed."""
        waiting = sum(s.purpose == "search" and s.state == "waiting" for s in self.statuses)
        return waiting + self.num_unproposed if self.is_needed else 0

    @property
    def uncopied(self) -> tuple[Member, ...]:
        """Incumbents of the source whose values no trial of this cell has yet."""
        if self.source is None:
            return ()
        copied_ids = {member.of for member in self.members("search")}
        originals = distinct_members(self.source.incumbents)
        return tuple(m for m in originals if m.trial_id not in copied_ids)

    @property
    def repeated(self) -> tuple[Member, ...]:
        """The different incumbents that get replicates."""
        incumbents = distinct_members(self.incumbents)
        return tuple(member for member in incumbents if is_repeated(self.state, member))

    @property
    def missing_replicates(self) -> tuple[tuple[Member, range], ...]:
        """Incumbent -> numbers of its replicates that are yet to be proposed."""
        of = [member.of for member in self.members("replicate")]
        missing = ((m, range(of.count(m.trial_id), self.num_replicates)) for m in self.repeated)
        return tuple((member, numbers) for member, numbers in missing if numbers)

    @property
    def replicates_to_go(self) -> int:
        """Number of replicates that the current incumbents still need.

        It grows if another trial becomes an incumbent. As long as there is none but the search may
        still find one, it is the number for one incumbent.
        """
        return self._count_to_go(self.num_replicates, self.search_to_go)

    @property
    def most_replicates_to_go(self) -> int:
        """The same if every look to come lets this cell run on."""
        looks = self._owner.looks
        num = self.rules.num_replicates if looks is None else looks.most_replicates(self.cell)
        return self._count_to_go(num, self.most_search_to_go)

    @property
    def most_search_to_go(self) -> int:
        """Search trials that wait or are yet to be proposed, if all looks let this cell run on."""
        looks = self._owner.looks
        may_begin = looks is not None and self.cell.search < looks.count_most(self.cell)
        return self.num_unproposed if may_begin and not self.is_needed else self.search_to_go

    def _count_to_go(self, num: int, search_to_go: int) -> int:
        """Replicates that are yet to end where each incumbent gets ``num``."""
        if not self.incumbents:
            return num * (search_to_go > 0)
        ended = [s.member.of for s in self.statuses if _is_replicate_over(s)]
        return sum(max(0, num - ended.count(member.trial_id)) for member in self.repeated)

    def draw_of_replicate(self, number: int) -> int:
        """The draw of the regime's images that a replicate trains on: the same in all arms.

        0 is the regime itself, on which all replicates train unless ``replicate.vary`` says
        ``subset``.
        """
        if not redraws(self.study, self._owner.facts, self.cell.regime):
            return 0
        return draw_of(self.cell.search, number)

    @property
    def teacher(self) -> Teacher | None:
        """The trial that teaches this cell; None if no arm does, or if it is not known yet.

        Recorded students name their teacher. Before there are any, it is chosen once the search of
        the teacher's cell is over.
        """
        if self.rules.teacher is None:
            return None
        if self._recorded_teacher is None:
            source = self._owner.cell(self.rules.teacher)
            students, candidates = self.members("search"), source.members("search")
            recorded = find_recorded(students, self.cell, candidates, source.cell)
            if recorded is None:
                return self.choose_teacher() if source.is_search_over else None
            member, length = recorded
            self._recorded_teacher = build_teacher(member, length, source.config_of(member))
        return self._recorded_teacher

    def choose_teacher(self) -> Teacher | None:
        """The incumbent of the teacher's cell at its longest length; None if it has none."""
        assert self.rules.teacher is not None, "an arm teaches this cell"
        source = self._owner.cell(self.rules.teacher)
        if not source.incumbents:
            return None
        longest = max(source.incumbents)
        member = source.incumbents[longest]
        return build_teacher(member, longest, source.config_of(member))

    @cached_property
    def _resolver(self) -> CellResolver:
        return CellResolver(self.study, self.cell, self._owner.facts)

    def resolve(
        self, params: Mapping[str, Value], seed: int, asset_seed: int | None = None, draw: int = 0
    ) -> TrialConfig:
        """The complete configuration of a trial of this cell, its teacher's included.

        Args:
            params: dotted path -> sampled value.
            seed: the trial's seed.
            asset_seed: seed of the assets that are learned from the regime's images.
            draw: which draw of the regime's images it trains on; 0 is the regime itself.
        """
        teacher = self.teacher
        config = None if teacher is None else teacher.config
        return self._resolver.resolve(params, seed, asset_seed, config, draw)

    def config_of(self, member: Member) -> TrialConfig:
        """The complete configuration of a recorded trial."""
        return self.resolve(member.params, member.seed, member.asset_seed, member.draw)


def _is_replicate_over(status: TrialStatus) -> bool:
    return status.purpose == "replicate" and status.state != "waiting"
