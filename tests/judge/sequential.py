"""Studies that stop when they have decided, from rows by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from rethink_ray.judge.claims import measure_claims
from rethink_ray.judge.judging import judge_study
from rethink_ray.judge.looks import LookDecisions, take_look
from rethink_ray.judge.verdicts import Finding
from rethink_ray.spec.claim import about
from rethink_ray.spec.study import Study
from tests.analysis.planted import build_study
from tests.judge.rows import build_samples

Rows = Mapping[tuple[str, float], Sequence[float]]
LOOKS = (3, 5, 7, 9)
ARMS: dict[str, Any] = {
    "scratch": {},
    "pretrained": {"set": {"init.source": "upstream"}},
    "frozen": {"set": {"init": {"source": "upstream", "frozen": "backbone"}}},
}


def build_sequential_study(**changes: Any) -> Study:
    """Looks at 3, 5, 7 and 9 replicates; ``changes``: keys of the study, or of its replicates."""
    replicates = {"from": 3, "to": 9, "until": "decided"} | changes.pop("replicates", {})
    budget = {"trials": 2, "keep": [2, 2, 2], "replicates": replicates}
    return build_study(**{"budget": budget, "arms": ARMS} | changes)


def take_looks(study: Study, rows: Rows, num_looks: int) -> LookDecisions:
    """The first looks of a study with these replicates."""
    samples = build_samples(rows)
    return take_look(study, {n: [s.up_to(n) for s in samples] for n in LOOKS[:num_looks]})


def judge_rows(study: Study, rows: Rows, num_looks: int) -> dict[str, Finding]:
    """The findings by key, after so many looks."""
    samples = build_samples(rows)
    claims = measure_claims(about("ap", study.claims), samples, study.margin)
    looks = take_looks(study, rows, num_looks)
    return {f.key: f for f in judge_study(study, samples, claims, looks).findings}
