"""Trials as ``optuna-dashboard`` shows them: true states, one intermediate value per length."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from rethink_ray.protocol.audit import chosen_losers
from rethink_ray.protocol.halving import HalvingState, ladder_of, replay_halving
from rethink_ray.protocol.incumbents import incumbents
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member, RoundProposed
from rethink_ray.search.observations import WORST, distribution_of, values_at
from rethink_ray.spec.resolve import Cell, base_recipe, copied_cell, space_of
from rethink_ray.spec.study import Study

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One search trial in Optuna's words."""

    member: Member
    state: TrialState
    value: float | None
    steps: Mapping[int, float]
    """Updates of a length -> value on the selection split."""
    outcome: str
    """Why a trial ended by its own failure; empty otherwise."""
    began: datetime | None
    ended: datetime | None

    @property
    def finished(self) -> bool:
        """Optuna accepts no further change."""
        return self.state in FINISHED


class ShownCell:
    """Says how the search trials of one cell look now."""

    def __init__(self, study: Study, cell: Cell) -> None:
        self._study = study
        self._cell = cell
        self._ladder = ladder_of(study, cell)
        self._schedule = base_recipe(study, cell).schedule
        self._space = space_of(study, cell)
        self._copied = copied_cell(study, cell) is not None
        self._over: set[int] = set()
        """Rounds in which nothing can change any more."""

    def trials(self, state: StudyState, started: frozenset[str]) -> Iterator[Shown]:
        """Every search trial that may have changed since it was last asked for, in order.

        Args:
            state: the records.
            started: ids of trials that some slot has taken up.
        """
        rounds = state.rounds.get((self._cell, "search"), {})
        for number in sorted(rounds.keys() - self._over):
            stopped, end = self._stopped(state, rounds[number])
            members = rounds[number].members
            shown = [self._shown(state, m, m.trial_id in stopped, end, started) for m in members]
            if all(trial.finished for trial in shown):
                self._over.add(number)
            yield from shown

    def _stopped(
        self, state: StudyState, proposed: RoundProposed
    ) -> tuple[frozenset[str], float | None]:
        """Whom halving has stopped for good, in the first round once the audit is known; and the
        length at which the round has converged."""
        if self._copied:
            return self._over_at_target(state, proposed), None
        standing = replay_halving(self._study, state, self._ladder, proposed.members)
        losers = {m.trial_id for m in standing.steps[0]} - {m.trial_id for m in standing.steps[-1]}
        if proposed.number == 0 and self._study.budget.audit:
            losers -= self._audit(state, standing, losers)
        end = standing.lengths(self._ladder)[-1] if standing.converged else None
        return frozenset(losers), end

    def _over_at_target(self, state: StudyState, proposed: RoundProposed) -> frozenset[str]:
        """Copied configurations that have run as far as they are incumbent."""
        found = incumbents(self._study, state, self._cell)
        targets = {found[length].trial_id: length for length in sorted(found)}
        return frozenset(
            m.trial_id
            for m in proposed.members
            if m.trial_id not in targets or (m.trial_id, targets[m.trial_id]) in state.rungs
        )

    def _audit(self, state: StudyState, standing: HalvingState, losers: set[str]) -> set[str]:
        if not standing.is_decided:
            return losers
        chosen = chosen_losers(self._study, state, self._cell, self._ladder, standing)
        return {member.trial_id for member in chosen}

    def _shown(
        self,
        state: StudyState,
        member: Member,
        stopped: bool,
        end: float | None,
        started: frozenset[str],
    ) -> Shown:
        lengths = self._ladder.of(member)
        values = values_at(self._study, state, member.trial_id, lengths)
        trial_state, value = self._became(state, member, stopped, end, values)
        if trial_state == TrialState.WAITING and (values or member.trial_id in started):
            trial_state = TrialState.RUNNING
        ended = state.ended.get(member.trial_id)
        rungs = [
            state.rungs[member.trial_id, x] for x in lengths if (member.trial_id, x) in state.rungs
        ]
        times = sorted((r.at - r.seconds_train - r.seconds_score, r.at) for r in rungs if r.at)
        return Shown(
            member=member,
            state=trial_state,
            value=value,
            steps={self._schedule.steps(length): v for length, v in values.items()},
            outcome="" if ended is None else ended.outcome,
            began=datetime.fromtimestamp(times[0][0]) if times else None,
            ended=datetime.fromtimestamp(times[-1][1]) if times else None,
        )

    def _became(
        self,
        state: StudyState,
        member: Member,
        stopped: bool,
        end: float | None,
        values: Mapping[float, float],
    ) -> tuple[TrialState, float | None]:
        ended = state.ended.get(member.trial_id)
        if ended is not None:
            diverged = ended.outcome == "diverged"
            return (TrialState.COMPLETE, WORST) if diverged else (TrialState.FAIL, None)
        goal = self._ladder.of(member)[-1] if end is None else end
        if (member.trial_id, goal) in state.rungs:
            last = values.get(goal)
            return (TrialState.FAIL, None) if last is None else (TrialState.COMPLETE, last)
        if stopped:
            return TrialState.PRUNED, values[max(values)] if values else None
        return TrialState.WAITING, None

    def template(self, shown: Shown) -> FrozenTrial:
        """The trial as it enters the mirror."""
        params = {
            path: value
            for path, value in shown.member.params.items()
            if path in self._space and self._space[path].contains(value)
        }
        trial = optuna.create_trial(
            state=shown.state,
            value=shown.value,
            params=params,
            distributions={path: distribution_of(self._space[path]) for path in params},
            intermediate_values=dict(shown.steps),
            user_attrs={"trial_id": shown.member.trial_id, "seed": shown.member.seed}
            | ({"outcome": shown.outcome} if shown.outcome else {}),
        )
        if shown.began is not None and shown.state != TrialState.WAITING:
            trial.datetime_start = shown.began
        if shown.ended is not None and shown.finished:
            trial.datetime_complete = shown.ended
        return trial
