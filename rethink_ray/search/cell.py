"""What one cell runs next: its rounds, its audit, then replicates of its incumbents."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rethink_ray.protocol.audit import chosen_losers
from rethink_ray.protocol.halving import HalvingState, ladder_of, replay_halving
from rethink_ray.protocol.incumbents import incumbents, is_repeated
from rethink_ray.protocol.teachers import chosen_teacher, recorded_teacher, teacher_cell
from rethink_ray.records.detections import detections_folder
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member, Purpose, RoundProposed, TrialEnded
from rethink_ray.search.configs import CellConfigs
from rethink_ray.search.jobs import Job, models_folder
from rethink_ray.search.proposals import Proposer
from rethink_ray.spec.assets import AssetSpec
from rethink_ray.spec.draws import draw_of, redraws
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.resolve import Cell, copied_cell
from rethink_ray.spec.space import Value
from rethink_ray.spec.study import Study


@dataclass(slots=True, kw_only=True)
class CellDecision:
    """What a cell asks for, before it is put together with the other cells'."""

    rounds: list[RoundProposed] = field(default_factory=list)
    unproposed: int = 0
    """Search trials of a round that is due, where rounds are only counted."""
    ends: list[TrialEnded] = field(default_factory=list)
    search: list[Job] = field(default_factory=list)
    replicates: list[Job] = field(default_factory=list)
    assets: dict[str, AssetSpec] = field(default_factory=dict)
    """Key -> asset that some job of this cell waits for, and that waits for no other."""
    searched: bool = False
    """All rounds and the audit are over: the incumbents stand."""
    done: bool = False


class CellSearch:
    """One cell of a study. Remembers how rounds stand, which records can only move on."""

    def __init__(self, study: Study, cell: Cell, facts: DataFacts, *, propose: bool = True) -> None:
        self.cell = cell
        self._propose = propose
        self.source = copied_cell(study, cell)
        """The cell whose values this one copies; None if it searches for itself."""
        self.teacher = teacher_cell(study, cell)
        """The cell whose incumbent teaches this one; None if nobody does."""
        self._study = study
        self._facts = facts
        self._ladder = ladder_of(study, cell)
        self._configs = CellConfigs(study, cell, facts)
        self._proposer = Proposer(study, cell, self._ladder)
        # A cell with nothing to tune has one configuration, so one trial says all a search can.
        self._num_trials = study.budget.trials if self._proposer.space.parameters else 1
        self._standings: dict[int, HalvingState] = {}
        self._jobs: dict[tuple[str, tuple[float, ...]], Job] = {}
        self._is_taught = False
        """The teacher stands in the records, so it is the one for good."""
        self._targets: dict[str, float] | None = None
        self._incumbents: list[Member] = []

    @property
    def waits_for(self) -> tuple[Cell, ...]:
        """The cells whose incumbents must stand before this one can begin."""
        return tuple(cell for cell in (self.source, self.teacher) if cell is not None)

    def decide(
        self, state: StudyState, source_searched: bool = False, teacher_searched: bool = False
    ) -> CellDecision:
        """What runs next here.

        Args:
            state: the records.
            source_searched: the copied cell's incumbents stand.
            teacher_searched: those of the cell that teaches this one do.
        """
        decision = CellDecision()
        if not self._can_begin(state, teacher_searched):
            # a search that found nothing teaches nobody: there is nothing to run here
            decision.searched = decision.done = teacher_searched
            return decision
        if self.source is None:
            self._search(state, decision)
        elif source_searched:
            self._copy(state, decision)
        if decision.searched:
            self._replicate(state, decision)
        return decision

    def _can_begin(self, state: StudyState, teacher_searched: bool) -> bool:
        """Whether nobody teaches here, or it is known who does."""
        if self.teacher is None or self._is_taught:
            return True
        found = recorded_teacher(self._study, self._facts, state, self.cell)
        self._is_taught = found is not None
        if found is None and teacher_searched:
            found = chosen_teacher(self._study, self._facts, state, self.cell)
        self._configs.teacher = found
        return found is not None

    def forget(self) -> None:
        """Start from the records alone; needed if they are not the ones seen before."""
        self._is_taught = False
        self._standings.clear()
        self._jobs.clear()
        self._targets = None

    def _search(self, state: StudyState, decision: CellDecision) -> None:
        rounds = state.rounds.get((self.cell, "search"), {})
        all_settled = True
        for number in sorted(rounds):
            standing = self._standing(state, number, rounds[number])
            for member in standing.waiting:
                length = self._ladder.of(member)[len(standing.steps) - 1]
                self._want(state, decision, "search", member, (length,))
            all_settled &= standing.is_decided
            if number == 0:
                self._audit(state, decision, standing)
        left = self._num_trials - sum(len(r.members) for r in rounds.values())
        if all_settled and left > 0 and self._propose:
            decision.rounds.append(self._next_round(state, len(rounds), left))
        elif all_settled and left > 0:
            decision.unproposed = min(self._ladder.keep[0], left)
        running = decision.search or decision.assets or decision.ends
        decision.searched = all_settled and left <= 0 and not running

    def _standing(self, state: StudyState, number: int, proposed: RoundProposed) -> HalvingState:
        before = self._standings.get(number)
        if before is not None and before.is_decided:
            return before
        standing = replay_halving(self._study, state, self._ladder, proposed.members, before)
        self._standings[number] = standing
        if standing.is_decided:
            self._configs.forget(frozenset(m.trial_id for m in proposed.members))
            self._jobs.clear()
        return standing

    def _audit(self, state: StudyState, decision: CellDecision, standing: HalvingState) -> None:
        if not self._study.budget.audit:
            return
        for member in chosen_losers(self._study, state, self.cell, self._ladder, standing):
            lengths = standing.lengths(self._ladder)
            self._want(state, decision, "search", member, lengths)

    def _next_round(self, state: StudyState, number: int, left: int) -> RoundProposed:
        size = min(self._ladder.keep[0], left)
        first = len(state.members(self.cell, "search"))
        proposed = self._proposer.propose(state, number, size)
        members = (
            self._configs.member(params, self._seed(first + i), self._asset_seed)
            for i, params in enumerate(proposed)
        )
        return self._round("search", number, tuple(members))

    def _copy(self, state: StudyState, decision: CellDecision) -> None:
        """One trial for each distinct incumbent of the source, with its values."""
        assert self.source is not None
        carried = state.members(self.cell, "search")
        known = {m.of for _, m in carried}
        of_source = distinct(incumbents(self._study, state, self.source))
        new = [m for m in of_source if m.trial_id not in known]
        if new:
            members = (
                self._configs.member(
                    self._copied(m), self._seed(len(carried) + i), self._asset_seed, of=m.trial_id
                )
                for i, m in enumerate(new)
            )
            number = len(state.rounds.get((self.cell, "search"), {}))
            decision.rounds.append(self._round("search", number, tuple(members)))
            return
        for _, member in carried:
            self._want(state, decision, "search", member, self._up_to_target(state, member))
        decision.searched = not (decision.search or decision.assets or decision.ends)

    def _copied(self, member: Member) -> dict[str, Value]:
        """The source's values at this cell's paths; the base value where the source has none."""
        space = self._proposer.space
        params: dict[str, Value] = {}
        for path, _ in space.active(params):
            params[path] = member.params.get(path, space.base[path])
        return params

    def _replicate(self, state: StudyState, decision: CellDecision) -> None:
        rounds = state.rounds.get((self.cell, "replicate"), {})
        recorded = [m for _, m in state.members(self.cell, "replicate")]
        self._find_targets(state)
        for incumbent in self._incumbents:
            if not is_repeated(state, incumbent):
                continue
            have = sum(m.of == incumbent.trial_id for m in recorded)
            members = tuple(
                self._repeat(incumbent, r) for r in range(have, self._study.budget.replicates)
            )
            if members:
                number = len(rounds) + len(decision.rounds)
                decision.rounds.append(self._round("replicate", number, members))
        for member in recorded:
            self._want(state, decision, "replicate", member, self._up_to_target(state, member))
        asked = decision.rounds or decision.ends or decision.replicates or decision.assets
        decision.done = not asked

    def _repeat(self, incumbent: Member, number: int) -> Member:
        which = (incumbent.trial_id, number)
        seed = seed_of(self._study.seed, self.cell.name, "replicate", *which)
        asset_seed = seed_of(self._study.seed, self.cell.name, "replicate's assets", *which)
        # the same for all arms, so that replicate i of each trains on the same images
        draw = 0
        if redraws(self._study, self._facts, self.cell.regime):
            draw = draw_of(self.cell.search, number)
        return self._configs.member(
            incumbent.params, seed, asset_seed, of=incumbent.trial_id, draw=draw
        )

    def _find_targets(self, state: StudyState) -> None:
        """Incumbent -> the longest length it is incumbent for; stands once the search is over."""
        if self._targets is None:
            found = incumbents(self._study, state, self.cell)
            self._targets = {found[length].trial_id: length for length in sorted(found)}
            self._incumbents = distinct(found)

    def _up_to_target(self, state: StudyState, member: Member) -> tuple[float, ...]:
        self._find_targets(state)
        assert self._targets is not None
        target = self._targets.get(member.of or "") or self._targets.get(member.trial_id)
        if target is None:
            return ()
        return tuple(length for length in self._ladder.of(member) if length <= target)

    def _want(
        self,
        state: StudyState,
        decision: CellDecision,
        purpose: Purpose,
        member: Member,
        lengths: Sequence[float],
    ) -> None:
        """Ask for what ``member`` lacks of ``lengths``: a job, its assets, or its end."""
        lacking = tuple(x for x in lengths if (member.trial_id, x) not in state.rungs)
        if not lacking or member.trial_id in state.ended:
            return
        jobs = decision.search if purpose == "search" else decision.replicates
        known = self._jobs.get((member.trial_id, lacking))
        if known is not None:
            jobs.append(known)
            return
        config, assets = self._configs.of(member)
        missing = {key: spec for key, spec in assets.items() if key not in state.assets}
        ready = {k: s for k, s in missing.items() if not any(n.key in missing for n in s.needs)}
        refused = [state.assets[k] for k in assets if k in state.assets and state.assets[k].refused]
        if refused:
            reason = f"asset {refused[0].key} was refused: {refused[0].refused}"
            decision.ends.append(
                TrialEnded(trial_id=member.trial_id, outcome="refused", reason=reason)
            )
        elif missing:
            decision.assets |= ready
        else:
            job = Job(
                job_id=f"{member.trial_id}-{lacking[-1]:g}x",
                purpose=purpose,
                cell=self.cell.name,
                trial_id=member.trial_id,
                config=config,
                lengths=lacking,
                splits=splits_of(self._study, purpose),
                models=models_folder(member.trial_id) if self._keeps_models(purpose) else None,
                detections=self._detections_folder(member, purpose),
            )
            self._jobs[member.trial_id, lacking] = job
            jobs.append(job)

    def _keeps_models(self, purpose: Purpose) -> bool:
        """Incumbents are search trials, and any of them may become one."""
        kept = self._study.checkpoints.models
        return kept == "all" or (kept == "incumbents" and purpose == "search")

    def _detections_folder(self, member: Member, purpose: Purpose) -> str | None:
        """Findings rest on replicates, and only theirs are looked at again."""
        wanted = self._study.checkpoints.detections == "replicates" and purpose == "replicate"
        return detections_folder(member.trial_id) if wanted else None

    @property
    def _asset_seed(self) -> int:
        """One for all search trials, which so share what they learn from the regime's images."""
        return seed_of(self._study.seed, self.cell.name, "assets")

    def _seed(self, index: int) -> int:
        return seed_of(self._study.seed, self.cell.name, "search", index)

    def _round(self, purpose: Purpose, number: int, members: tuple[Member, ...]) -> RoundProposed:
        return RoundProposed(
            regime=self.cell.regime,
            arm=self.cell.arm,
            search=self.cell.search,
            searches=self._study.budget.searches,
            number=number,
            purpose=purpose,
            members=members,
        )


def distinct(by_length: dict[float, Member]) -> list[Member]:
    """The different incumbents, in the order of the first length each is incumbent for."""
    ordered = (by_length[length] for length in sorted(by_length))
    return list({member.trial_id: member for member in ordered}.values())


def splits_of(study: Study, purpose: Purpose) -> tuple[str, ...]:
    """What a rung is scored on: search sees the selection split only."""
    if purpose == "search":
        return (study.data.select_split,)
    return tuple(dict.fromkeys((study.data.select_split, study.data.report_on)))
