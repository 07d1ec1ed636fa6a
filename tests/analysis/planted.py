"""Studies whose truth is known: events as a real run would record them, scores as planted."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rethink_ray.judge.read.curves import CellResult, CurvePoint
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.tables import StudyTables, build_tables
from rethink_ray.protocol.teachers import Teacher
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import (
    AssetDone,
    Event,
    LookTaken,
    Member,
    RoundProposed,
    RungDone,
    TrialEnded,
)
from rethink_ray.session import start_study
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import FIRST_IDENTITY, IDENTITY
from rethink_ray.spec.older_ids import first_asset_keys, first_trial_id
from rethink_ray.spec.older_records import fill_first_study
from rethink_ray.spec.regime import num_images
from rethink_ray.spec.resolve import Cell, CellResolver, cells_of, lengths_of
from rethink_ray.spec.study import Study
from tests.builders import made_up_facts

Score = Callable[[Cell, float, str, int], float]
"""(cell, length, purpose, number of the trial in its cell) -> AP."""

TREE: dict[str, Any] = {
    "study": "planted",
    "question": "Does pre-training pay?",
    "data": {"dataset": "shapes", "select_on": "val", "report_on": "test"},
    "regimes": {"full": {"images": "all"}},
    "recipe": "tiny_retinanet",
    "arms": {"scratch": {}, "pretrained": {"set": {"init.source": "upstream"}}},
    "search": {"optimizer.lr": {"log_uniform": [0.005, 0.08]}},
    "schedule": {"unit": 60, "lengths": [2, 4, 6]},
    "budget": {"trials": 2, "keep": [2, 2, 2], "replicates": 3},
}


def build_study(**changes: Any) -> Study:
    """The study above with top-level keys replaced."""
    return Study.model_validate_json(json.dumps(TREE | changes))


def build_facts(study: Study, *, train: int = 400, report: int = 600) -> DataFacts:
    """Facts of a data set with ``train`` images, and of upstream scenes if the study names any."""
    upstream = study.data.upstream_detection
    sizes = {n: num_images(r.images, train) for n, r in study.regimes.items()}
    return DataFacts(
        fingerprint="d" * 16,
        categories=("disc", "square"),
        regime_sizes=sizes,
        regime_digests={name: name * 2 for name in sizes},
        split_sizes={"train": train, "val": 60, "test": report},
        upstream_fingerprint="u" * 16,
        upstream_detection=upstream and made_up_facts({"all": 2000}),
    )


@dataclass
class Planted:
    """A study, and the events that a run of it with these scores would have recorded."""

    study: Study
    score: Score
    report_images: int = 600
    replicates: int | None = None
    lr: Sequence[float] = (0.02, 0.03, 0.025, 0.015)
    norms: Sequence[str] = ()
    """``detector.norm`` of each search trial, where the study searches it."""
    added: int = 0
    """Replicates of each incumbent that a later ``resume`` asked for."""
    ended: Mapping[tuple[str, str, int], str] = field(default_factory=dict)
    """(arm, purpose, number) -> how the method ended that trial before its first rung."""
    ladders: Mapping[tuple[str, str, int], Sequence[float]] = field(default_factory=dict)
    """(arm or cell, purpose, number) -> the lengths it ran, where it did not run all."""
    lr_in: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Regime -> rates of its search trials, where they are others."""
    metrics: Callable[[Cell, float, int], Mapping[str, float]] = lambda cell, length, number: {}
    """(cell, length, number of the trial) -> what its rung says beside AP, as ``test/ap75``."""
    asset_seconds: Mapping[str, float] = field(default_factory=dict)
    """Kind of asset -> how long it took, where not 100 s."""
    identity: int = IDENTITY
    """Under which its records were made: this program's, or the first."""
    price: Callable[[Cell], Mapping[str, Any]] = lambda cell: {}
    """What a cell's rungs say of their cost, as fields of ``RungDone``."""
    looks: Sequence[LookTaken] = ()
    """The looks that were recorded, where the study stops when it has decided."""

    @property
    def recorded(self) -> Study:
        """The study as its records are read: with the defaults of their identity."""
        if self.identity != FIRST_IDENTITY:
            return self.study
        tree = self.study.model_dump(mode="json", exclude_unset=True)
        return Study.model_validate_json(json.dumps(fill_first_study(tree)))

    @property
    def facts(self) -> DataFacts:
        return build_facts(self.study, report=self.report_images)

    def events(self) -> list[Event]:
        events: list[Event] = []
        for cell in cells_of(self.study):
            rates = self.lr_in.get(cell.regime, self.lr)
            params: list[dict[str, Any]] = [
                {"optimizer.lr": rates[i]} for i in range(self.study.budget.trials)
            ]
            for values, norm in zip(params, self.norms, strict=False):
                values["detector.norm"] = norm
            taught = self._teacher(cell, events)
            events += self._round(cell, "search", params, [None] * len(params), taught)
        for cell in cells_of(self.study):
            best = StudyView(self.study, StudyState(events)).cell(cell).incumbents
            distinct = {m.trial_id: m for m in best.values()}
            planned = self.study.budget.num_replicates
            wanted = planned if self.replicates is None else self.replicates
            for number, more in enumerate((wanted, self.added)):
                members = [m for m in distinct.values() for _ in range(more)]
                if members:
                    repeated = [m.trial_id for m in members]
                    params = [dict(m.params) for m in members]
                    taught = self._teacher(cell, events)
                    events += self._round(cell, "replicate", params, repeated, taught, number)
        return [*events, *self.looks]

    def _teacher(self, cell: Cell, events: Sequence[Event]) -> Teacher | None:
        if self.study.arms[cell.arm].teacher is None:
            return None
        return StudyView(self.recorded, StudyState(events), self.facts).cell(cell).choose_teacher()

    def _round(
        self,
        cell: Cell,
        purpose: Any,
        params: list[dict[str, Any]],
        of: Sequence[str | None],
        taught: Teacher | None = None,
        round_number: int = 0,
    ) -> list[Event]:
        members, rungs, assets = [], [], {}
        for number, (values, repeated) in enumerate(
            zip(params, of, strict=True), start=100 * round_number
        ):
            seed = zlib.crc32(f"{cell.name}{purpose}{number}".encode())
            teacher = taught.config if taught else None
            config = CellResolver(self.recorded, cell, self.facts).resolve(
                values, seed, seed, teacher
            )
            is_first = self.identity == FIRST_IDENTITY
            trial_id = first_trial_id(config) if is_first else config.trial_id
            member = Member(
                trial_id=trial_id,
                params=values,
                seed=seed,
                of=repeated,
                asset_seed=config.asset_seed,  # None where nothing is learned from the regime
                teacher=taught.trial_id if taught else None,
                teacher_length=taught.length if taught else None,
            )
            members.append(member)
            keys = [asset.key for asset in assets_of(config)]
            for key in first_asset_keys(config) if is_first else keys:
                kind = key.partition("-")[0]
                classified = {"accuracy": 0.8, "chance": 0.05}
                metrics = {"val/ap": 12.5} if kind == "upstream_detector" else classified
                took = self.asset_seconds.get(kind, 100.0)
                done = AssetDone(key=key, kind=kind, metrics=metrics, seconds=took)
                assets[key] = done
            outcome = self.ended.get((cell.arm, purpose, number))
            if outcome:
                ended = TrialEnded(trial_id=trial_id, outcome=outcome, reason="x", seconds=1.0)
                rungs.append(ended)
                continue
            ran = self.ladders.get((cell.arm, purpose, number), lengths_of(self.study, cell))
            ran = self.ladders.get((cell.name, purpose, number), ran)
            for length in ran:
                value = self.score(cell, length, purpose, number)
                done = _rung(trial_id, length, value)
                metrics = {**done.metrics, **self.metrics(cell, length, number)}
                rungs.append(replace(done, metrics=metrics, **self.price(cell)))
        proposed = RoundProposed(
            regime=cell.regime,
            arm=cell.arm,
            number=round_number,
            purpose=purpose,
            members=tuple(members),
        )
        return [proposed, *assets.values(), *rungs]

    def tables(self) -> StudyTables:
        """What ``records`` makes of these events."""
        return build_tables(self.study, StudyState(self.events()), self.facts)

    def directory(self, root: Path) -> Path:
        """A study directory with these events in its log."""
        made = start_study(root, self.study, "study: planted\n", self.facts, {})
        for event in self.events():
            made.log.append(event)
        if self.identity == FIRST_IDENTITY:
            path = root / "resolved.json"
            resolved = json.loads(path.read_text())
            del resolved["identity"]  # studies of then have none
            path.write_text(json.dumps(resolved))
        return root


def _rung(trial_id: str, length: float, value: float) -> RungDone:
    return RungDone(
        trial_id=trial_id,
        length=length,
        steps=int(length * 60),
        metrics={"val/ap": value, "test/ap": value},
        seconds_train=10.0,
        seconds_score=1.0,
        steps_new=60,
    )


def noisy(truth: Callable[[Cell, float], float], sd: float, seed: int) -> Score:
    """Truth plus normal noise; every trial has its own, whatever the order of the questions."""

    def score(cell: Cell, length: float, purpose: str, number: int) -> float:
        key = zlib.crc32(f"{cell.name}|{length}|{purpose}|{number}".encode())
        return truth(cell, length) + sd * float(np.random.default_rng([seed, key]).normal())

    return score


def written(values: Mapping[tuple[str, float], Sequence[float]]) -> Score:
    """Replicates score what is written for (arm, length); search trials their mean, the first
    a little better."""

    def score(cell: Cell, length: float, purpose: str, number: int) -> float:
        row = values[cell.arm, length]
        if purpose == "search":
            return sum(row) / len(row) - 0.01 * number
        return row[number % len(row)]

    return score


def built_cell(arm: str, values: Mapping[float, Sequence[float]], source: str) -> CellResult:
    """A cell's result with these replicates per length, without a study behind it."""
    points = tuple(
        CurvePoint(
            length=length,
            incumbent=f"{arm}-best",
            select=None,
            values=dict(enumerate(row)),
            trial_ids=tuple(f"{arm}-{seed}" for seed in range(len(row))),
            failed=(),
            waiting=0,
        )
        for length, row in values.items()
    )
    return CellResult(
        regime="full",
        arm=arm,
        source=source,
        lengths=tuple(values),
        points=points,
        one_configuration=(),
        best_length=None,
        shortest_within=None,
        configurations=(),
        states={},
    )
