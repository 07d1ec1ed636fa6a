"""Which full-scale study that ships can test each of the papers' claims."""

from collections.abc import Mapping
from functools import cache

import pytest

from rethink_ray.judge.matching import find_comparisons
from rethink_ray.judge.read.curves import cell_result
from rethink_ray.judge.read.study_samples import study_samples
from rethink_ray.judge.read.trials import read_cells
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.spec.claim import paper_claims
from rethink_ray.spec.load import find_study, load_study
from tests.analysis.planted import build_facts

TESTED_BY: Mapping[str, str] = {
    "he_2018/catch-up": "he_2018",
    "he_2018/catch-up-best": "he_2018",
    "he_2018/slow-start": "he_2018",
    "he_2018/breakdown": "he_2018",
    "he_2018/breakdown-voc": "he_2018_voc",
    "he_2018/parity": "he_2018",
    "he_2018/localisation": "he_2018",
    "he_2018/norm": "he_2018_variants",
    "he_2018/norm-kinds": "he_2018_variants",
    "he_2018/low-rate-overfits": "he_2018_variants",
    "li_2019/above-classifier": "detector_start",
    "li_2019/localisation": "detector_start",
    "wang_2020/last-layers": "detector_start",
    "zoph_2020/augmentation": "zoph_2020",
    "zoph_2020/strong-augmentation": "zoph_2020",
    "zoph_2020/labels": "zoph_2020",
    "zoph_2020/self-training": "zoph_2020",
    "zoph_2020/self-training-adds": "zoph_2020",
    "zoph_2020/beyond-more-updates": "zoph_2020",
    "zoph_2020/joint-training": "zoph_2020_joint",
    "zoph_2020/self-supervised": "zoph_2020_simclr",
    "li_2021/direct": "li_2021",
    "li_2021/direct-equal-passes": "li_2021",
    "li_2021/longer-first-stage": "li_2021",
    "li_2021/first-stage-resolution": "li_2021",
    "li_2021/second-stage-resolution": "li_2021",
    "li_2021/cost": "four_systems_mini",  # ImageNet's own hours are in no file of weights
    "vasconcelos_2022/freezing-hurts-fpn": "vasconcelos_2022",
    "vasconcelos_2022/freezing-helps-cascade": "vasconcelos_2022",
    "vasconcelos_2022/capacity": "vasconcelos_2022",
    "vasconcelos_2022/freezing-beats-scratch": "vasconcelos_2022",
    "vasconcelos_2022/upstream-size-frozen": "vasconcelos_2022",
    "vasconcelos_2022/upstream-size-tuned": "vasconcelos_2022",
    "vasconcelos_2022/long-training-erases": "vasconcelos_2022",
    "vasconcelos_2022/frozen-keeps": "vasconcelos_2022",
    "vasconcelos_2022/long-training-erases-the-lead": "vasconcelos_2022",
    "vasconcelos_2022/frozen-keeps-the-lead": "vasconcelos_2022",
    "vasconcelos_2022/drift": "vasconcelos_2022",
    "vasconcelos_2022/object-size": "vasconcelos_2022_lvis",
    "vasconcelos_2022/class-frequency": "vasconcelos_2022_lvis",
    "vasconcelos_2022/adapters": "vasconcelos_2022",
    "vasconcelos_2022/cost-operations": "vasconcelos_2022",
    "vasconcelos_2022/cost-parameters": "vasconcelos_2022",
    "vasconcelos_2022/cost-memory": "vasconcelos_2022",
    "vasconcelos_2022/cost": "vasconcelos_2022",
    "lee_2022/fine-tuning": "detector_start",
    "muralidharan_2025/moderate-size": "detector_start",
    "muralidharan_2025/low-capacity": "detector_start_mini",
}
IMAGES: Mapping[str, int] = {"coco": 113_287, "lvis": 95_170, "voc": 10_228}
"""In the training sets of full-scale studies, outside their hold-outs."""


@cache
def _samples(stem: str) -> tuple[ScoreSample, ...]:
    """What the study will have numbers for, before anything has run."""
    study = load_study(find_study(stem))[0]
    facts = build_facts(study, train=IMAGES.get(str(study.data.dataset), 800))
    records = read_cells(build_tables(study, StudyState([]), facts))
    results = {cell: cell_result(study, record) for cell, record in records.items()}
    return tuple(study_samples(study, facts, records, results))


def test_every_claim_is_tested_by_a_study_that_ships() -> None:
    assert TESTED_BY.keys() == paper_claims().keys()


@pytest.mark.parametrize("name", TESTED_BY)
def test_a_study_that_ships_has_the_arms_that_a_claim_compares(name: str) -> None:
    found = find_comparisons(paper_claims()[name], _samples(TESTED_BY[name]))
    assert not isinstance(found, str), found
    assert found
    assert not any(place.ambiguous for place in found), [p.labels for p in found if p.ambiguous]
