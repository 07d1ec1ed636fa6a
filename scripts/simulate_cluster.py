"""How long a large study takes on 8, 64 and 512 GPUs, and what bounds it.

    python scripts/simulate_cluster.py he_2018 four_systems
    python scripts/simulate_cluster.py four_systems --gpus 64 --gpus-per-job 1 --pace h100.json

Jobs, rounds and their order are the program's own decisions, on made-up scores. Paces are a guess
from published numbers (``gpu_paces.py``) unless ``--pace FILE`` has measured ones, of jobs with
``--gpus-per-job`` GPUs (``rethink-ray status DIR --write-pace FILE``).

Nodes of 8 GPUs are lost every 154 days (6.5 losses in 1,000 node days: Kokolis et al. 2025, arXiv
2410.21680, RSC-1) and come back after 2 hours; one node in twenty takes 1.5 times as long. Both are
assumptions to play with: ``--days-between-losses``, ``--slow-share``, ``--slow-factor``.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gpu_cluster import GPUS_PER_NODE, GpuCluster, Machines, Outcome
from gpu_paces import guess_paces

from rethink_ray.records.state import StudyState
from rethink_ray.search.hours import JobTimes
from rethink_ray.search.paces import Pace, Paces, read_paces
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.regime import HoldoutSpec, num_held_out, num_images, num_reserved
from rethink_ray.spec.study import Study

COCO = {"train": 118_287, "val": 5_000}
"""Images of COCO 2017."""
PLENTY = 8192
"""GPUs on which no job waits for another one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A study on clusters of several sizes."""

    study: str
    gpus_per_job: int
    chain_hours: float
    """With as many GPUs as it can use, all of them steady."""
    gpu_hours: float
    """Work of all jobs on steady GPUs."""
    clusters: Mapping[int, Outcome]
    """GPUs -> what became of it."""


def facts_of_coco(study: Study) -> DataFacts:
    """What ``data`` would find in COCO, which is not on every machine."""
    holdout = study.data.select_on
    splits = dict(COCO)
    if isinstance(holdout, HoldoutSpec):
        splits["holdout"] = num_reserved(holdout.holdout, splits["train"])
    everything = splits["train"] - splits.get("holdout", 0)
    sizes = {name: num_images(regime.images, everything) for name, regime in study.regimes.items()}
    shares = holdout.holdout if isinstance(holdout, HoldoutSpec) else None
    return DataFacts(
        fingerprint="f" * 16,
        categories=tuple(f"category {number}" for number in range(80)),
        regime_sizes=sizes,
        regime_digests={name: f"digest of {num}" for name, num in sizes.items()},
        split_sizes=splits,
        holdout_sizes={name: num_held_out(shares, num) for name, num in sizes.items()}
        if isinstance(shares, str)
        else {},
        upstream_fingerprint="u" * 16,
    )


def simulate(study: Study, facts: DataFacts, paces: Paces, machines: Machines) -> Outcome:
    """One run of the study, from nothing."""
    study = study.model_copy(update={"sampler": "quasi_random"})  # no model is fitted
    state = StudyState()
    times = JobTimes(study=study, facts=facts, paces=paces, state=state)
    cluster = GpuCluster(study=study, facts=facts, times=times, machines=machines, state=state)
    return cluster.run()


def simulate_all(name: str, options: argparse.Namespace) -> Simulated:
    """A study on every cluster that was asked for, and on one without any limit."""
    study, _ = load_study(find_study(name))
    facts = facts_of_coco(study)
    gpus = options.gpus_per_job or gpus_of_a_job(study)
    paces = read_paces(options.pace).arms if options.pace else guess_paces(study, facts, gpus)
    steady = {key: _without_spread(pace) for key, pace in paces.items()}
    bound = simulate(study, facts, steady, Machines(gpus=PLENTY, gpus_per_job=gpus))
    clusters = {
        num: simulate(study, facts, paces, machines_of(options, num, gpus)) for num in options.gpus
    }
    return Simulated(
        study=name,
        gpus_per_job=gpus,
        chain_hours=bound.hours,
        gpu_hours=bound.worked_gpu_hours,
        clusters=clusters,
    )


def gpus_of_a_job(study: Study) -> int:
    """As the study file says."""
    resources = study.resources
    return max(1, round(max(1, resources.workers) * max(1.0, resources.gpus_per_worker)))


def machines_of(options: argparse.Namespace, gpus: int, gpus_per_job: int) -> Machines:
    return Machines(
        gpus=gpus,
        gpus_per_job=gpus_per_job,
        hours_between_losses=24.0 * options.days_between_losses,
        slow_share=options.slow_share,
        slow_factor=options.slow_factor,
        seed=options.seed,
    )


def _without_spread(pace: Pace) -> Pace:
    return replace(pace, spread=0.0)


def print_table(simulated: Simulated) -> None:
    """The rows of docs/benchmarks.md."""
    print(
        f"\n{simulated.study}, {simulated.gpus_per_job} GPUs a job: {simulated.gpu_hours:,.0f} GPU "
        f"hours of work; the longest chain of jobs takes {simulated.chain_hours:,.0f} hours\n"
    )
    print("| GPUs | hours | busy share | GPU hours paid | bound | no job waits | lost jobs |")
    print("|---|---|---|---|---|---|---|")
    for gpus, outcome in simulated.clusters.items():
        work = simulated.gpu_hours / gpus
        bound, kind = max((work, "work"), (simulated.chain_hours, "chain"))
        print(
            f"| {gpus} | {outcome.hours:,.0f} | {outcome.busy_share:.2f} "
            f"| {outcome.paid_gpu_hours:,.0f} | {outcome.hours / bound:.2f} x {kind} "
            f"| {outcome.hours_without_queue / outcome.hours:.0%} | {outcome.lost_jobs} |"
            + ("" if outcome.is_done else " NOT DONE")
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("studies", nargs="+", help="names or files of studies on COCO")
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--gpus-per-job", type=int, help="[workers x gpus_per_worker of the study]")
    parser.add_argument("--pace", type=Path, help="a file of measured paces")
    parser.add_argument("--days-between-losses", type=float, default=154.0, help="of one node")
    parser.add_argument("--slow-share", type=float, default=0.05, help="share of slow nodes")
    parser.add_argument("--slow-factor", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    wrong = [num for num in options.gpus if num % GPUS_PER_NODE or num < 1]
    if wrong:
        parser.error(f"--gpus: must be multiples of {GPUS_PER_NODE}, but got {wrong[0]}")
    simulated = [simulate_all(name, options) for name in options.studies]
    for one in simulated:
        print_table(one)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in simulated], indent=1) + "\n")


if __name__ == "__main__":
    main()
