"""The same question on drawn shapes: this program, and one Ray Tune sweep for each regime.

The truth is not known here. So the runs are repeated with several seeds, and what is counted
is how often two repeats of one way contradict each other. The sweep's trials train as Tune's users
write it: one schedule each, scored after every 1x, without sharing anything.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

import rethink_ray
from rethink_ray.judge.statistics import pool_sds
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.resolve import TrialConfig, cells_of
from rethink_ray.spec.study import Study
from verdicts.answers import Answer, Place, Winner
from verdicts.one_rule import DECIDED, claim_from_means, judge_answer
from verdicts.program import CellRun, answer_fixed, read_cell
from verdicts.real_tune import (
    SCORE,
    TRAINED,
    Experiment,
    Trainable,
    let_workers_import_scripts,
    run_tune,
)
from verdicts.rivals import SWEEP
from verdicts.surfaces import ARMS, LENGTHS, QUESTIONS, REGIMES, Cell, Question

if TYPE_CHECKING:
    from rethink_ray.training.machinery import Machinery
    from rethink_ray.training.worker_context import WorkerContext

STUDY = Path(__file__).resolve().parents[2] / "search_spaces" / "quickstart.yaml"
"""Three arms, two regimes, 2x, 4x and 6x on drawn shapes: the study that the README runs."""
SWEEP_TRIALS = 32
"""Of each regime."""
REPORTED = "reported"
"""Key of a trial's score on the split that judges; trials are ranked by the other one."""
REPORTS = (TRAINED, SCORE, REPORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One seed: the study's answer and the sweep's."""

    program: Answer
    cells: Mapping[Cell, CellRun]
    sweep: Answer


def run_live(root: Path, num_seeds: int, slots: int) -> Iterator[str]:
    """Runs every seed, or continues it, and prints what came out as Markdown.

    Args:
        root: folder of the studies.
        num_seeds: repeats.
        slots: trials at a time.
    """
    let_workers_import_scripts()
    repeats = [run_seed(root, seed, slots) for seed in range(num_seeds)]
    sds = pool_noise(repeats)
    yield "| way | seed | runs of 6x | decided | verdicts |"
    yield "|---" * 5 + "|"
    by_way: dict[str, list[Mapping[Question, Verdict]]] = {}
    for seed, repeat in enumerate(repeats):
        for answer in (repeat.program, repeat.sweep):
            for name, verdicts in (
                (answer.policy, judge_answer(answer, sds)),
                (f"{answer.policy}, means at their word", claim_from_means(answer)),
            ):
                by_way.setdefault(name, []).append(verdicts)
                counts = Counter(v.value for v in verdicts.values())
                decided = sum(v in DECIDED for v in verdicts.values())
                shown = ", ".join(f"{num} {verdict}" for verdict, num in counts.items())
                runs = answer.updates / max(LENGTHS)
                yield f"| {name} | {seed} | {runs:.1f} | {decided} of {len(verdicts)} | {shown} |"
    yield "\n| way | pairs of repeats that both decide a question | of these, contradictions |"
    yield "|---" * 3 + "|"
    for name, all_verdicts in by_way.items():
        pairs, against = count_contradictions(all_verdicts)
        yield f"| {name} | {pairs} | {against} |"


def count_contradictions(repeats: Sequence[Mapping[Question, Verdict]]) -> tuple[int, int]:
    """(pairs of repeats that both decide a question, those that decide it differently)."""
    pairs = against = 0
    for question in QUESTIONS:
        decided = [v[question] for v in repeats if v[question] in DECIDED]
        for index, first in enumerate(decided):
            for second in decided[index + 1 :]:
                pairs += 1
                against += first is not second
    return pairs, against


def pool_noise(repeats: Sequence[Repeat]) -> dict[Cell, float]:
    """Cell -> sd between replicates of one configuration, pooled over everything that was run."""
    sds = {}
    for cell in repeats[0].cells:
        groups = [
            scores
            for repeat in repeats
            for repeated in repeat.cells[cell].repeated.values()
            for scores in repeated.scores.values()
        ]
        sds[cell] = pool_sds(groups) or 0.0
    return sds


def run_seed(root: Path, seed: int, slots: int) -> Repeat:
    """The study and the sweeps of one seed; what is finished is only read."""
    tree = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    where = root / f"live_{seed}"
    study = tree | {"study": where.name, "seed": seed}
    rethink_ray.run(study, out=str(where), slots=slots, report=False)
    directory = StudyDirectory.open(where)
    state, study = directory.load_state(), directory.study
    view = StudyView(study, state, directory.facts)
    places = [(regime, arm) for regime in REGIMES for arm in ARMS]
    cells = {
        measured_cell: read_cell(view, state, index) for index, measured_cell in enumerate(places)
    }
    answer = answer_fixed(cells, study.budget.trials, study.budget.num_replicates)
    return Repeat(program=answer, cells=cells, sweep=run_sweeps(directory, where, seed, slots))


def run_sweeps(directory: StudyDirectory, where: Path, seed: int, slots: int) -> Answer:
    """Both regimes' sweeps in Ray Tune; finished ones are read from their files."""
    winners: dict[Place, Winner] = {}
    updates = 0.0
    for regime in REGIMES:
        kept = where.parent / f"sweep_{seed}_{regime}.json"
        if not kept.exists():
            reports = run_sweep(directory, where, regime, seed_of("live", seed, regime), slots)
            kept.write_text(json.dumps(reports), encoding="utf-8")
        reports = json.loads(kept.read_text(encoding="utf-8"))
        updates += sum(report[TRAINED] for report in reports)
        winners |= best_trials(regime, reports)
    return Answer(
        policy=SWEEP,
        budget=f"{SWEEP_TRIALS} trials",
        winners=winners,
        updates=updates,
        updates_longest=updates,
    )


def run_sweep(
    directory: StudyDirectory, where: Path, regime: str, seed: int, slots: int
) -> list[dict[str, Any]]:
    """What the trials of one sweep reported last, on a Ray of its own."""
    from rethink_ray.cluster.ray_session import ray_session

    experiment = Experiment(
        space=space_of_sweep(directory.study),
        num=SWEEP_TRIALS,
        longest=max(LENGTHS),
        seed=seed,
        slots=slots,
    )
    with ray_session(directory.study.resources, None, slots), TemporaryDirectory() as folder:
        trainable = trainable_of(directory, regime, where.resolve() / "assets", Path(folder))
        reports = run_tune(trainable, experiment, Path(folder) / "tune")
    return [{key: report[key] for key in ("config", *REPORTS)} for report in reports]


def best_trials(regime: str, reports: Sequence[Mapping[str, Any]]) -> dict[Place, Winner]:
    """Arm and length -> the trial that ran to its end with the best score."""
    best: dict[Place, Mapping[str, Any]] = {}
    for report in reports:
        config = report["config"]
        measured_cell = (regime, ARMS[config["arm"]], config["length"])
        is_finished = report[TRAINED] >= config["length"]
        if is_finished and (
            measured_cell not in best or report[SCORE] > best[measured_cell][SCORE]
        ):
            best[measured_cell] = report
    return {
        measured_cell: Winner(rate=report["config"]["optimizer.lr"], scores=(report[REPORTED],))
        for measured_cell, report in best.items()
    }


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


def trainable_of(directory: StudyDirectory, regime: str, assets: Path, folder: Path) -> Trainable:
    """A function that trains one configuration of a regime and reports to Tune after each 1x.

    Args:
        directory: of the study, for its recipe and its data.
        regime: whose images are trained on.
        assets: where the study has built the classifier that arms start from.
        folder: for the files of trials.
    """
    study, facts = directory.study, directory.facts
    cells = [cell for cell in cells_of(study) if cell.regime == regime]

    def train(params: dict[str, Any]) -> None:
        view = StudyView(study, StudyState(), facts).cell(cells[params["arm"]])
        paths = {path: params[path] for path in study.search}
        seed = seed_of("live trial", study.seed, json.dumps(params, sort_keys=True))
        config = view.resolve(paths, seed)
        train_and_report(config, params["length"], assets, folder / config.trial_id)

    return train


def train_and_report(config: TrialConfig, length: float, assets: Path, folder: Path) -> None:
    """One schedule of this length, scored after every 1x and reported to Tune."""
    from ray import tune

    from rethink_ray.training.machinery import Machinery
    from rethink_ray.training.schedule import schedule_of
    from rethink_ray.training.trial_files import RunFolders
    from rethink_ray.training.worker_context import WorkerContext

    ctx = WorkerContext.local(config)
    machinery = Machinery(config, RunFolders(trial=folder, assets=assets), ctx)
    schedule = schedule_of(config.recipe.schedule, length)
    batches = machinery.data.batches(0, ctx)
    unit = config.recipe.schedule.unit
    for step in range(schedule.total_steps):
        machinery.update(step, schedule, batches)
        if (step + 1) % unit == 0:
            scores = score_now(machinery, config, ctx)
            tune.report({TRAINED: float((step + 1) // unit), **scores})


def score_now(
    machinery: "Machinery", config: TrialConfig, ctx: "WorkerContext"
) -> dict[str, float]:
    """The scores of a run as it is now, under the keys of a report."""
    from rethink_ray.training.evaluate import score_split

    data, metric = config.data, config.objective.metric
    with machinery.live.scored_weights():
        return {
            key: score_split(machinery.live.detector, config, split, ctx)[f"{split}/{metric}"]
            for key, split in ((SCORE, data.select_split), (REPORTED, data.report_split))
        }
