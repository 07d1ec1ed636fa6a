"""What one cell (one arm in one regime) runs next: its search, then replicates of its incumbents.

The search proposes rounds of trials until the budget is spent. Halving decides which trials of a
round train for longer; the audit trains a few of the others to the end all the same, to measure
what halving missed. When the search is over, the best trial at each schedule length is an
incumbent, and each incumbent is trained again under new seeds: its replicates.

Two kinds of arms work differently. An arm that copies values samples none: it proposes one trial
for each incumbent of the arm that it copies (its *source*). An arm with a teacher begins once the
search of the teacher's arm is over.

``CellView`` knows these rules: which trials can run on, whether the search is over, which
replicates are missing. ``CellSearch`` acts on the answers: it proposes rounds, and turns trials
that can run on into jobs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.protocol.cell_view import CellView, PendingRun
from rethink_ray.records.detections import detections_folder
from rethink_ray.records.types import Member, Purpose, RoundProposed, TrialEnded
from rethink_ray.search.configs import CellConfigs
from rethink_ray.search.jobs import Job, models_folder, splits_to_score
from rethink_ray.search.proposals import Proposer
from rethink_ray.spec.assets import AssetSpec
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.space import Value


@dataclass(slots=True, kw_only=True)
class CellDecision:
    """What a cell needs next; ``OpenJobs`` puts the decisions of all cells together."""

    rounds: list[RoundProposed] = field(default_factory=list)
    """New rounds. They must be recorded before their trials become jobs."""
    unproposed: int = 0
    """How many search trials the next round would have, if ``CellSearch`` only counts them."""
    ends: list[TrialEnded] = field(default_factory=list)
    """Trials that can never start, because an asset they need was refused."""
    search_jobs: list[Job] = field(default_factory=list)
    replicate_jobs: list[Job] = field(default_factory=list)
    assets: dict[str, AssetSpec] = field(default_factory=dict)
    """Key -> asset that some trial of this cell needs and that can be built now."""
    is_done: bool = False
    """The cell is finished: it will not need anything later either."""

    @property
    def is_empty(self) -> bool:
        """The cell needs nothing at the moment."""
        jobs = self.search_jobs or self.replicate_jobs or self.assets
        return not (jobs or self.rounds or self.ends or self.unproposed)


class CellSearch:
    """Decides for one cell. Caches jobs and configurations, which never change for a trial."""

    def __init__(self, view: CellView, *, propose: bool = True) -> None:
        """Without ``propose`` no values are sampled: the trials of a due round are only counted."""
        self.view = view
        self._propose = propose
        self._study = view.study
        self._configs = CellConfigs(view)
        self._proposer = Proposer(view)
        self._jobs: dict[tuple[str, tuple[float, ...]], Job] = {}
        self._decided: set[int] = set()
        """Numbers of the search rounds whose configurations were dropped."""

    def decide(self) -> CellDecision:
        """What the cell needs next, according to the records as they are now."""
        decision = CellDecision()
        view = self.view
        if not view.is_needed:  # a look may ask for this search later
            decision.is_done = True
            return decision
        if view.rules.teacher is not None and view.teacher is None:
            # The teacher is not chosen yet. If the teacher's arm ended its search without any
            # incumbent, there will be none, and the view calls this cell's search over as well.
            decision.is_done = view.is_search_over
            return decision
        self._free_decided_rounds()
        self._propose_search(decision)
        if not (view.uncopied and decision.rounds):  # copies run once all of them are recorded
            self._run(decision, "search", view.pending_search)
        if view.is_search_over:
            self._propose_replicates(decision)
            self._run(decision, "replicate", view.pending_replicates)
            decision.is_done = decision.is_empty
        return decision

    def forget(self) -> None:
        """Drop what was derived from the records, because other records follow."""
        self._decided.clear()
        self._jobs.clear()

    def _free_decided_rounds(self) -> None:
        """Drop the configurations of the rounds that halving has decided, to save memory.

        Jobs hold configurations, so all jobs are dropped as well. Those that are still to run, such
        as the audit's, are built again.
        """
        for number, halving in self.view.halving.items():
            if halving.is_decided and number not in self._decided:
                self._decided.add(number)
                self._configs.forget(frozenset(m.trial_id for m in halving.steps[0]))
                self._jobs.clear()

    def _propose_search(self, decision: CellDecision) -> None:
        """Add the next search round to the decision, if one is due."""
        view = self.view
        if view.source is not None and view.source.is_search_over and view.uncopied:
            decision.rounds.append(self._round("search", self._copy(view.uncopied)))
        elif view.is_round_due:
            size = min(view.ladder.keep[0], view.num_unproposed)
            if self._propose:
                decision.rounds.append(self._round("search", self._sample(size)))
            else:
                decision.unproposed = size

    def _sample(self, size: int) -> tuple[Member, ...]:
        """``size`` new trials with sampled values."""
        number, first = len(self.view.rounds("search")), len(self.view.members("search"))
        sampled = self._proposer.propose(number, size)
        return tuple(
            self._configs.build_member(params, self._search_seed(first + i), self._asset_seed)
            for i, params in enumerate(sampled)
        )

    def _copy(self, originals: Iterable[Member]) -> tuple[Member, ...]:
        """One new trial for each of these incumbents of the source, with its values."""
        first = len(self.view.members("search"))
        return tuple(
            self._configs.build_member(
                self._copied_values(original),
                self._search_seed(first + i),
                self._asset_seed,
                of=original.trial_id,
            )
            for i, original in enumerate(originals)
        )

    def _copied_values(self, original: Member) -> dict[str, Value]:
        """The source's values at this cell's paths; the base value where the source has none."""
        space = self._proposer.space
        params: dict[str, Value] = {}
        for path, _ in space.active(params):
            params[path] = original.params.get(path, space.base[path])
        return params

    def _propose_replicates(self, decision: CellDecision) -> None:
        """Add a round to the decision for each incumbent that lacks replicates."""
        number = len(self.view.rounds("replicate"))
        for incumbent, numbers in self.view.missing_replicates:
            members = tuple(self._replicate(incumbent, n) for n in numbers)
            decision.rounds.append(self._round("replicate", members, number))
            number += 1

    def _replicate(self, incumbent: Member, number: int) -> Member:
        """The incumbent's values again, with the seeds of its replicate ``number``.

        They come from the incumbent's seed and not from its id, which hashes every new field.
        """
        trial = (incumbent.seed, number)
        return self._configs.build_member(
            incumbent.params,
            seed_of(self._study.seed, self.view.cell.name, "replicate", *trial),
            seed_of(self._study.seed, self.view.cell.name, "replicate's assets", *trial),
            of=incumbent.trial_id,
            draw=self.view.draw_of_replicate(number),
        )

    def _run(self, decision: CellDecision, purpose: Purpose, runs: Iterable[PendingRun]) -> None:
        """Add to the decision, for each run: its job, its missing assets, or its refusal."""
        jobs = decision.search_jobs if purpose == "search" else decision.replicate_jobs
        for run in runs:
            key = (run.member.trial_id, run.lengths)
            if key in self._jobs:
                jobs.append(self._jobs[key])
                continue
            config, assets = self._configs.config_of(run.member)
            refusal = self._refusal(run.member, assets)
            if refusal is not None:
                decision.ends.append(refusal)
            elif missing := self._missing(assets):
                decision.assets |= missing
            else:
                self._jobs[key] = self._job(run, config, purpose)
                jobs.append(self._jobs[key])

    def _refusal(self, member: Member, assets: Iterable[str]) -> TrialEnded | None:
        """The end of a trial that needs a refused asset."""
        for key in assets:
            done = self.view.state.assets.get(key)
            if done is not None and done.refused:
                reason = f"it needs {key}, which was refused: {done.refused}"
                return TrialEnded(trial_id=member.trial_id, outcome="refused", reason=reason)
        return None

    def _missing(self, assets: dict[str, AssetSpec]) -> dict[str, AssetSpec]:
        """The assets to build next: first those that need no other missing one."""
        missing = {k: spec for k, spec in assets.items() if k not in self.view.state.assets}
        return {k: s for k, s in missing.items() if not any(n.key in missing for n in s.needs)}

    def _job(self, run: PendingRun, config: TrialConfig, purpose: Purpose) -> Job:
        trial_id, checkpoints = run.member.trial_id, self._study.checkpoints
        # Any search trial may become an incumbent. Findings rest on the detections of replicates.
        keeps_models = checkpoints.models == "all" or (
            checkpoints.models == "incumbents" and purpose == "search"
        )
        keeps_detections = checkpoints.detections == "replicates" and purpose == "replicate"
        return Job(
            job_id=f"{trial_id}-{run.lengths[-1]:g}x",
            purpose=purpose,
            cell=self.view.cell.name,
            trial_id=trial_id,
            config=config,
            lengths=run.lengths,
            splits=splits_to_score(self._study, purpose),
            models=models_folder(trial_id) if keeps_models else None,
            detections=detections_folder(trial_id) if keeps_detections else None,
        )

    @property
    def _asset_seed(self) -> int:
        """One seed for all search trials, so that they share the assets learned from images."""
        return seed_of(self._study.seed, self.view.cell.name, "assets")

    def _search_seed(self, index: int) -> int:
        return seed_of(self._study.seed, self.view.cell.name, "search", index)

    def _round(
        self, purpose: Purpose, members: tuple[Member, ...], number: int | None = None
    ) -> RoundProposed:
        """A round to record. ``number``: None takes the next one after the recorded rounds."""
        cell = self.view.cell
        return RoundProposed(
            regime=cell.regime,
            arm=cell.arm,
            search=cell.search,
            searches=num_searches(self._study),
            number=len(self.view.rounds(purpose)) if number is None else number,
            purpose=purpose,
            members=members,
        )
