"""The question on drawn shapes, as one Ray Tune sweep for each regime answers it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.records.state import StudyState
from rethink_ray.spec.errors import Diverged
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.resolve import TrialConfig, cells_of
from rethink_ray.spec.study import Study
from verdicts.answers import Answer, Place, Winner
from verdicts.live_study import LiveAnswer, LiveStudy, Params
from verdicts.plain_run import PlainRun
from verdicts.real_tune import SCORE, TRAINED, Experiment, Trainable, run_tune
from verdicts.rivals import SWEEP
from verdicts.surfaces import ARMS, LENGTHS, REGIMES

REPORTED = "reported"
"""Key of a finished trial's score on the split that judges; trials are ranked by the other one."""
Report = Mapping[str, Any]
"""What a trial reported last, with its parameters under ``config``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFiles:
    """Where the trials of the sweeps of one seed are kept."""

    root: Path
    seed: int

    def of(self, regime: str) -> Path:
        """The file of one regime's sweep."""
        return self.root / f"sweep_{self.seed}_{regime}.json"


def answer_by_sweeps(live: LiveStudy, files: SweepFiles, num: int, slots: int) -> LiveAnswer:
    """Both regimes' sweeps in Ray Tune; finished ones are read from their files.

    Args:
        live: the study of this seed, for its recipe, data, and assets.
        files: of this seed.
        num: trials of each regime.
        slots: trials at a time.
    """
    winners: dict[Place, Winner] = {}
    recommended: dict[str, tuple[Place, Params]] = {}
    updates = 0.0
    for regime in REGIMES:
        kept = files.of(regime)
        if not kept.exists():
            experiment = Experiment(
                space=space_of_sweep(live.study),
                num=num,
                longest=max(LENGTHS),
                seed=seed_of("live", files.seed, regime),
                slots=slots,
            )
            reports = run_sweep(live, regime, experiment)
            kept.write_text(json.dumps(reports, indent=1), encoding="utf-8")
        reports = json.loads(kept.read_text(encoding="utf-8"))
        updates += sum(report[TRAINED] for report in reports)
        best = find_best_trials(regime, reports)
        winners |= {
            measured_place: Winner(
                rate=report["config"]["optimizer.lr"], scores=(report[REPORTED],)
            )
            for measured_place, report in best.items()
        }
        if best:
            top = max(best, key=lambda place: float(best[place][SCORE]))
            sampled = best[top]["config"]
            recommended[regime] = (top, {path: sampled[path] for path in live.study.search})
    answer = Answer(
        policy=SWEEP,
        budget=f"{num} trials a regime",
        winners=winners,
        updates=updates,
        updates_longest=updates,
    )
    return LiveAnswer(answer=answer, recommended=recommended)


def find_best_trials(regime: str, reports: Sequence[Report]) -> dict[Place, Report]:
    """Arm and length -> the trial that ran to its end with the best score."""
    best: dict[Place, Report] = {}
    for report in reports:
        config = report["config"]
        measured_place = (regime, ARMS[config["arm"]], config["length"])
        is_finished = report.get(REPORTED) is not None
        if is_finished and (
            measured_place not in best or report[SCORE] > best[measured_place][SCORE]
        ):
            best[measured_place] = report
    return best


def run_sweep(live: LiveStudy, regime: str, experiment: Experiment) -> list[dict[str, Any]]:
    """What the trials of one sweep reported last. Ray must be running."""
    with TemporaryDirectory() as folder:
        trainable = build_trainable(live, regime, Path(folder))
        reports = run_tune(trainable, experiment, Path(folder) / "tune")
    keys = ("config", TRAINED, SCORE, REPORTED)
    return [{key: report.get(key) for key in keys} for report in reports]


def space_of_sweep(study: Study) -> dict[str, Any]:
    """The study's search space in Tune's words, with arm and length."""
    from ray import tune

    space: dict[str, Any] = {
        "arm": tune.choice(range(len(ARMS))),
        "length": tune.choice(LENGTHS),
    }
    for path, parameter in study.search.items():
        assert parameter.log_uniform is not None, "both are searched in logarithms"
        space[path] = tune.loguniform(*parameter.log_uniform)
    return space


def build_trainable(live: LiveStudy, regime: str, folder: Path) -> Trainable:
    """A function that trains one configuration of a regime and reports to Tune after each 1x.

    Args:
        live: the study, for its recipe, its data and the classifier that arms start from.
        regime: whose images are trained on.
        folder: for the files of trials.
    """
    study, facts = live.study, live.directory.facts
    assets = live.directory.assets_dir.resolve()

    def train(params: dict[str, Any]) -> None:
        paths = {path: params[path] for path in study.search}
        seed = seed_of("live trial", study.seed, json.dumps(params, sort_keys=True))
        view = StudyView(study, StudyState(), facts)
        config = resolve(view, (regime, ARMS[params["arm"]]), paths, seed)
        report_run(PlainRun(config, params["length"], assets, folder / config.trial_id))

    return train


def resolve(view: StudyView, cell: tuple[str, str], params: Params, seed: int) -> TrialConfig:
    """The configuration of a run of an arm in a regime."""
    known = next(c for c in cells_of(view.study) if (c.regime, c.arm) == cell)
    return view.cell(known).resolve(params, seed)


def report_run(run: PlainRun) -> None:
    """Trains a run and reports to Tune after every 1x. One that diverges ends with a score of 0."""
    from ray import tune

    data, trained = run.config.data, 0.0
    try:
        for time in run.train():
            trained = time
            report = {TRAINED: time, SCORE: run.score(data.select_split)}
            if time >= run.length:
                report[REPORTED] = run.score(data.report_split)
            tune.report(report)
    except Diverged:
        tune.report({TRAINED: trained + 1.0, SCORE: 0.0})
