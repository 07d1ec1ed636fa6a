"""Recorded search trials as ``optuna-dashboard`` shows them: one intermediate value per length."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from rethink_ray.protocol.cell_view import CellView
from rethink_ray.protocol.incumbents import WORST_SCORE
from rethink_ray.records.types import Member, RoundProposed
from rethink_ray.search.observations import distribution_of, scores_at
from rethink_ray.spec.resolve import base_recipe

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptunaTrial:
    """One search trial in Optuna's terms."""

    member: Member
    state: TrialState
    value: float | None
    steps: Mapping[int, float]
    """Updates of a length -> score on the selection split."""
    outcome: str
    """How the method ended the trial; empty if it did not."""
    began: datetime | None
    ended: datetime | None

    @property
    def is_finished(self) -> bool:
        """Optuna accepts no further change."""
        return self.state in FINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEnd:
    """Where the trials of one round end."""

    stopped: frozenset[str]
    """Trials that run no further: halving stopped them and the audit did not choose them."""
    converged_at: float | None
    """The length at which the round converged; None: it runs the whole ladder."""


class CellTrials:
    """Describes the search trials of one cell to Optuna."""

    def __init__(self, view: CellView) -> None:
        self._view = view
        self._schedule = base_recipe(view.study, view.cell).schedule
        self._finished_rounds: set[int] = set()
        """Rounds in which nothing can change any more."""

    def changing_trials(self, started: frozenset[str]) -> Iterator[OptunaTrial]:
        """Every search trial that may have changed since the last call, in order.

        Args:
            started: ids of trials that some slot has begun.
        """
        rounds = self._view.rounds("search")
        for number in sorted(rounds.keys() - self._finished_rounds):
            end = self._end_of(rounds[number])
            trials = [self._describe(m, end, started) for m in rounds[number].members]
            if all(trial.is_finished for trial in trials):
                self._finished_rounds.add(number)
            yield from trials

    def _end_of(self, proposed: RoundProposed) -> RoundEnd:
        view = self._view
        if view.source is not None:
            return RoundEnd(stopped=self._copies_at_goal(proposed), converged_at=None)
        halving = view.halving[proposed.number]
        stopped = halving.losers
        if proposed.number == 0 and view.rules.num_audited:
            # before the round is decided, any of its losers may be chosen for the audit
            audited = view.outcome.audited if halving.is_decided else halving.losers
            stopped -= audited
        return RoundEnd(stopped=stopped, converged_at=halving.converged_at(view.ladder))

    def _copies_at_goal(self, proposed: RoundProposed) -> frozenset[str]:
        """Copied trials that have finished the longest length that they are incumbent for."""
        targets = self._view.outcome.targets
        return frozenset(
            m.trial_id
            for m in proposed.members
            if m.trial_id not in targets
            or (m.trial_id, targets[m.trial_id]) in self._view.state.rungs
        )

    def _describe(self, member: Member, end: RoundEnd, started: frozenset[str]) -> OptunaTrial:
        state, ladder = self._view.state, self._view.ladder
        lengths = ladder.lengths_of(member)
        scores = scores_at(state, member.trial_id, lengths, ladder.metric)
        trial_state, value = self._state_and_value(member, end, scores)
        if trial_state == TrialState.WAITING and (scores or member.trial_id in started):
            trial_state = TrialState.RUNNING
        ended = state.ended.get(member.trial_id)
        rungs = [
            state.rungs[member.trial_id, x] for x in state.lengths_done(member.trial_id, lengths)
        ]
        times = sorted((r.at - r.seconds_train - r.seconds_score, r.at) for r in rungs if r.at)
        return OptunaTrial(
            member=member,
            state=trial_state,
            value=value,
            steps={self._schedule.steps(length): score for length, score in scores.items()},
            outcome="" if ended is None else ended.outcome,
            began=datetime.fromtimestamp(times[0][0]) if times else None,
            ended=datetime.fromtimestamp(times[-1][1]) if times else None,
        )

    def _state_and_value(
        self, member: Member, end: RoundEnd, scores: Mapping[float, float]
    ) -> tuple[TrialState, float | None]:
        state = self._view.state
        ended = state.ended.get(member.trial_id)
        if ended is not None:
            if ended.outcome == "diverged":
                return TrialState.COMPLETE, WORST_SCORE
            return TrialState.FAIL, None
        goal = end.converged_at or self._view.ladder.lengths_of(member)[-1]
        if (member.trial_id, goal) in state.rungs:
            last = scores.get(goal)
            return (TrialState.FAIL, None) if last is None else (TrialState.COMPLETE, last)
        if member.trial_id in end.stopped:
            return TrialState.PRUNED, scores[max(scores)] if scores else None
        return TrialState.WAITING, None

    def as_frozen_trial(self, trial: OptunaTrial) -> FrozenTrial:
        """The trial as it enters the journal."""
        space = self._view.rules.space
        params = {
            path: value
            for path, value in trial.member.params.items()
            if path in space and space[path].contains(value)
        }
        frozen = optuna.create_trial(
            state=trial.state,
            value=trial.value,
            params=params,
            distributions={path: distribution_of(space[path]) for path in params},
            intermediate_values=dict(trial.steps),
            user_attrs={"trial_id": trial.member.trial_id, "seed": trial.member.seed}
            | ({"outcome": trial.outcome} if trial.outcome else {}),
        )
        if trial.began is not None and trial.state != TrialState.WAITING:
            frozen.datetime_start = trial.began
        if trial.ended is not None and trial.is_finished:
            frozen.datetime_complete = trial.ended
        return frozen
