"""The same question on drawn shapes: this program, and one Ray Tune sweep for each regime.

The truth is not known here. So every way answers with several seeds, and what is counted is how
often two of its repeats contradict each other, and how often a verdict contradicts that of a larger
study, the reference. What each way recommends is trained anew with new seeds (``live_regret.py``).

Every run is kept in the folder as soon as it has ended. A second call reads what is finished and
goes on with the rest; with fewer seeds it prints the tables of those.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rethink_ray.judge.statistics import pool_sds
from rethink_ray.judge.verdicts import Verdict
from verdicts.asked import judge_fixed
from verdicts.live_regret import Worth, find_reference, measure_worth
from verdicts.live_study import (
    DECLARED,
    REFERENCE_SEED,
    LiveAnswer,
    LiveSize,
    LiveStudy,
    answer_by_study,
    run_live_study,
    write_tree,
)
from verdicts.live_sweep import SweepFiles, answer_by_sweeps
from verdicts.one_rule import DECIDED, claim_from_means, judge_answer
from verdicts.program import StudyRun
from verdicts.real_tune import let_workers_import_scripts
from verdicts.surfaces import LENGTHS, QUESTIONS, REGIMES, Cell, Question

Verdicts = Mapping[Question, Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One seed: every way's answer, and what its recommendations are worth."""

    run: StudyRun
    answers: tuple[LiveAnswer, ...]
    worths: tuple[Mapping[str, Worth], ...]
    """Of each answer: regime -> worth."""


def run_live(root: Path, num_seeds: int, slots: int, size: LiveSize = DECLARED) -> Iterator[str]:
    """Runs every seed and the reference, or continues, and prints what came out as Markdown.

    Args:
        root: folder of the studies.
        num_seeds: repeats.
        slots: trials at a time.
        size: how much is trained.
    """
    from rethink_ray.cluster.ray_session import ray_session, set_switches
    from rethink_ray.spec.study import ResourceSpec

    set_switches()
    let_workers_import_scripts()
    root.mkdir(parents=True, exist_ok=True)
    repeats = []
    with ray_session(ResourceSpec(), None, slots):
        for seed in range(num_seeds):
            repeats.append(run_seed(root, seed, slots, size))
            yield f"seed {seed}: done"
        tree = write_tree("reference", REFERENCE_SEED, size, size.reference_budget)
        reference = run_live_study(root / "reference", tree, slots)
    yield from print_tables(repeats, reference)


def run_seed(root: Path, seed: int, slots: int, size: LiveSize) -> Repeat:
    """The study, the sweeps and the new runs of one seed; what is finished is only read."""
    where = root / f"live_{seed}"
    live = run_live_study(where, write_tree(where.name, seed, size, size.budget), slots)
    files = SweepFiles(root=root, seed=seed)
    answers = (answer_by_study(live), answer_by_sweeps(live, files, size.sweep_trials, slots))
    kept = root / f"fresh_{seed}.json"
    worths = tuple(measure_worth(live, one, kept, size.fresh_runs) for one in answers)
    return Repeat(run=live.run, answers=answers, worths=worths)


def print_tables(repeats: Sequence[Repeat], reference: LiveStudy) -> Iterator[str]:
    """Every seed's verdicts and updates, contradictions, and regret."""
    judged = judge_fixed(reference.study, reference.run.samples)
    by_way = list_verdicts(repeats, judged)
    yield "\n| way | seed | runs of 6x | decided | verdicts | contradict the reference |"
    yield "|---" * 6 + "|"
    for way, all_verdicts in by_way.items():
        for seed, (runs, verdicts) in enumerate(all_verdicts):
            counts = Counter(v.value for v in verdicts.values())
            shown = ", ".join(f"{num} {verdict}" for verdict, num in counts.items())
            decided = sum(v in DECIDED for v in verdicts.values())
            pairs, against = count_contradictions([verdicts, judged])
            yield (
                f"| {way} | {seed} | {runs:.1f} | {decided} of {len(verdicts)} | {shown} "
                f"| {against} of {pairs} |"
            )
    yield "\n| way | pairs of seeds that both decide a question | of these, contradictions |"
    yield "|---" * 3 + "|"
    for way, all_verdicts in by_way.items():
        pairs, against = count_contradictions([verdicts for _, verdicts in all_verdicts])
        yield f"| {way} | {pairs} | {against} |"
    yield from regret_table(repeats, find_reference(reference))


def list_verdicts(
    repeats: Sequence[Repeat], reference: Verdicts
) -> dict[str, list[tuple[float, Verdicts]]]:
    """Way -> for each seed its updates in runs of 6x, and its verdicts.

    This program's are those of its findings. A sweep's are those of the rule for rivals, with the
    noise of all replicates; and those of its scores, each taken at its word.
    """
    noise = pool_noise([repeat.run for repeat in repeats])
    by_way: dict[str, list[tuple[float, Verdicts]]] = {}
    for repeat in repeats:
        for one in repeat.answers:
            answer, runs = one.answer, one.answer.updates / max(LENGTHS)
            verdicts = answer.verdicts or judge_answer(answer, noise)
            by_way.setdefault(answer.policy, []).append((runs, verdicts))
            word = f"{answer.policy}, means at their word"
            by_way.setdefault(word, []).append((runs, claim_from_means(answer)))
    return by_way


def count_contradictions(repeats: Sequence[Verdicts]) -> tuple[int, int]:
    """(pairs of repeats that both decide a question, those that decide it differently)."""
    pairs = against = 0
    for question in QUESTIONS:
        decided = [v[question] for v in repeats if v[question] in DECIDED]
        for index, first in enumerate(decided):
            for second in decided[index + 1 :]:
                pairs += 1
                against += first is not second
    return pairs, against


def pool_noise(runs: Sequence[StudyRun]) -> dict[Cell, float]:
    """Cell -> sd between replicates of one configuration, pooled over everything that was run."""
    sds = {}
    for cell in runs[0].cells:
        groups = [
            scores
            for run in runs
            for repeated in run.cells[cell].repeated.values()
            for scores in repeated.scores.values()
        ]
        sds[cell] = pool_sds(groups) or 0.0
    return sds


def regret_table(repeats: Sequence[Repeat], reference: Mapping[str, float]) -> Iterator[str]:
    """What each way recommends in each regime, the AP of its new runs, and its regret."""
    yield "\nReference: " + ", ".join(f"{ap:.1f} AP on {r}" for r, ap in reference.items())
    yield "\n| way | seed | regime | recommended | AP of new runs | regret |"
    yield "|---" * 6 + "|"
    regrets: dict[str, list[float]] = {}
    for seed, repeat in enumerate(repeats):
        for one, worths in zip(repeat.answers, repeat.worths, strict=True):
            way = one.answer.policy
            for regime in REGIMES:
                if regime not in worths:
                    yield f"| {way} | {seed} | {regime} | nothing finished | | |"
                    continue
                worth = worths[regime]
                _, arm, length = worth.recommended
                aps = ", ".join(f"{ap:.1f}" for ap in worth.aps)
                regret = reference[regime] - fmean(worth.aps)
                regrets.setdefault(way, []).append(regret)
                yield f"| {way} | {seed} | {regime} | {arm}, {length:g}x | {aps} | {regret:.1f} |"
    for way, lost in regrets.items():
        yield f"\n{way}: regret {fmean(lost):.2f} AP, mean of {len(lost)} recommendations"
