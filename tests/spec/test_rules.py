"""The tables of rules: what they read, what their errors carry, and that ours obey them."""

import pickle
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from rethink_ray.spec.claim import paper_claims
from rethink_ray.spec.errors import DataError, Diverged, SpecError, explain, show_value
from rethink_ray.spec.metrics import MEASURED
from rethink_ray.spec.reach import Run
from rethink_ray.spec.recipe import Spec
from rethink_ray.spec.recipes import RECIPES, build_recipe
from rethink_ray.spec.rules.claims import CLAIM_NAME_RULES, ClaimNames
from rethink_ray.spec.rules.rule import Breach, Rule, check_rules, find_breach
from rethink_ray.spec.rules.runs import IN_STUDY_RULES, RECIPE_RULES
from rethink_ray.spec.settings import LENGTH_PATH, known_paths, with_settings
from rethink_ray.spec.study import BudgetSpec, ResourceSpec

LENGTHS = {length for name in RECIPES for length in build_recipe(name).schedule.lengths}
CHANGES: list[dict[str, Any]] = [
    {},
    {"init.source": "direct"},
    {"init.source": "direct", "detector.norm": "bn", "direct.norm_batch": 8},
    {"init.source": "torchvision", "init.weights": "X", "detector.backbone": "resnet50"},
    {"init.source": "file", "init.weights": "w.pt", "init.weights_norm": "gn"},
    {"init.source": "upstream", "init.frozen": "backbone", "detector.adapters": 0.1},
    {"init.zero_init_residual": True, "detector.backbone": "resnet18"},
    {"detector.head_norm": "none", "detector.box_head": "2fc"},
    {"detector.head_norm": "frozen_bn", "detector.neck_norm": "none", "detector.norm": "gn"},
    {"detector.neck_norm": "frozen_bn", "detector.norm": "frozen_bn", "init.source": "upstream"},
    {"detector.cascade_from": 10, "detector.neck": "bifpn", "detector.norm": "frozen_bn"},
    {"labels.kind": "self_training", "labels.share": 0.25, "detector.norm_batch": 2},
    {"labels.kind": "continued", "joint.weight": 0.5, "precision": "tf32"},
    {"schedule.decay.before_end": {f"{length:g}": [0.4] for length in LENGTHS}},
    {"schedule.decay.kind": "cosine", "batch_size": 12},
    {"detector.head_norm": "none", "detector.neck": "bifpn"},
    {"detector.backbone": "swin_t", "detector.norm": "frozen_bn", "init.source": "upstream"},
    {"detector.background_iou": 0.6, "detector.cascade_ious": [0.6, 0.5]},
    {"detector.norm": "bn", "detector.norm_batch": 3, "batch_size": 7},
    {"init.source": "torchvision", "detector.backbone": "vgg16"},
    {"init.source": "torchvision", "init.weights": "X"},
    {"init.source": "file", "init.weights": "w.pt", "init.frozen": "stem"},
    {"init.frozen": "stem", "schedule.lengths": [2.0, 1.0]},
    {"labels.kind": "continued", "labels.start": "init", "schedule.warmup": 10**6},
    {"labels.kind": "self_training", "labels.threshold": 0.01, "schedule.unit": 10**9},
    {"init.source": "upstream", "init.frozen": "heads", "init.unfreeze": {"after": 99.0}},
    {"init.source": "upstream", "init.unfreeze": {"after": 0.5}, "schedule.decay.kind": "cosine"},
    {"init.source": "direct", "init.frozen": "neck", "optimizer.backbone_rate": 0.5},
    {"init.source": "direct", "init.frozen": "layer4", "optimizer.layer_decay": 0.5},
    {"labels.kind": "continued", "init.frozen": "heads", "joint.weight": 0.5},
    {"joint.weight": 0.5, "joint.batch_size": 7, "labels.kind": "self_training", "batch_size": 7},
]
RESOURCES = [ResourceSpec(), ResourceSpec(workers=2, images_per_step=2)]


class ReadRecorder:
    """Stands for a group of a recipe and notes each path that is read."""

    def __init__(self, group: Spec, read: set[str], prefix: str = "") -> None:
        self._group, self._read, self._prefix = group, read, prefix

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._group, name)
        if isinstance(value, Spec) and f"{self._prefix}{name}" not in known_paths():
            return ReadRecorder(value, self._read, f"{self._prefix}{name}.")
        if isinstance(getattr(type(self._group), name, None), property):
            return getattr(type(self._group), name).fget(self)
        if name not in type(self._group).model_fields:
            return partial(getattr(type(self._group), name), self)
        self._read.add(f"{self._prefix}{name}")
        return value


def runs() -> Iterator[Run]:
    for name in RECIPES:
        for change in CHANGES:
            recipe = with_settings(build_recipe(name), change, "test")
            for resources in RESOURCES:
                yield Run(recipe=recipe, resources=resources, metric="mask_ap")


def test_a_rule_reads_no_other_paths_than_it_names() -> None:
    """Otherwise a search could reach a combination that nothing has checked."""
    fixed = {"schedule.decay.before_end"}  # holds more than one number: nothing searches it
    for run in runs():
        for rule in (*RECIPE_RULES, *IN_STUDY_RULES):
            read: set[str] = set()
            recorder: Any = ReadRecorder(run.recipe, read)
            rule.broken(Run(recipe=recorder, resources=run.resources, metric=run.metric))
            searched = {LENGTH_PATH if path == "schedule.lengths" else path for path in read}
            assert searched - fixed <= set(rule.paths), (rule.key, rule.must)


def test_a_rule_names_paths_that_there_are() -> None:
    groups = {path.rpartition(".")[0] for path in known_paths()}
    resources = {f"resources.{name}" for name in ResourceSpec.model_fields}
    for rule in (*RECIPE_RULES, *IN_STUDY_RULES):
        assert set(rule.paths) <= {*known_paths(), *groups, *resources}, rule.key


def test_the_sentences_of_a_rule_are_filled_for_every_run_that_breaks_it() -> None:
    broken = set()
    for run in runs():
        for rule in (*RECIPE_RULES, *IN_STUDY_RULES):
            explanation = find_breach([rule], run, run.words)
            if explanation is not None:
                broken.add((rule.key, rule.must))
                assert "{" not in f"{explanation.must}{explanation.remedy}", rule.must
    assert len(broken) >= 25


RULE: Rule[BudgetSpec] = Rule(
    key="budget.trials",
    broken=lambda budget: budget.trials > 5 and Breach(came=budget.trials, words={"most": 5}),
    must="must be at most {most} beside {budget.replicates} replicates",
    remedy="Write {{5}}.",
)


def test_the_error_of_a_rule_carries_its_parts_as_fields() -> None:
    budget = BudgetSpec(trials=9, replicates=2)
    with pytest.raises(SpecError) as caught:
        check_rules([RULE], budget, {"budget": budget}, "s.yaml")
    error = caught.value
    assert error.where == "s.yaml: budget.trials"
    assert error.must == "must be at most 5 beside 2 replicates"
    assert (error.came, error.remedy) == ("9", "Write {5}.")
    whole = "s.yaml: budget.trials: must be at most 5 beside 2 replicates, but got 9. Write {5}."
    assert str(error) == whole
    assert find_breach([RULE], BudgetSpec(trials=5), {}) is None


def test_errors_keep_their_fields_where_processes_exchange_them() -> None:
    for error in (
        SpecError(explain("a", "must be b", "c", "Do d."), "and a plain sentence"),
        Diverged(explain("loss", "must be finite", float("nan")), step=3),
        DataError("plain"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
        assert (again.where, again.must, again.came, again.remedy) == (
            *(error.where, error.must, error.came, error.remedy),
        )
    inner = SpecError(explain("a", "must be b", "c")).within("file")
    assert (inner.where, str(inner)) == ("file: a", "file: a: must be b, but got 'c'.")


def test_the_papers_claims_select_by_columns_and_metrics_that_there_are() -> None:
    for name, claim in paper_claims().items():
        named = ClaimNames(claim, {"metric": [*MEASURED]})
        assert find_breach(CLAIM_NAME_RULES, named, {}) is None, name


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (("seed", None), "['seed', null]"),
        ({"unit": 60, "lengths": [2.0]}, "{unit: 60, lengths: [2.0]}"),
        ("gn", "'gn'"),
        (1e-05, "1e-05"),
    ],
)
def test_a_message_shows_a_value_as_a_study_file_says_it(value: object, shown: str) -> None:
    assert show_value(value) == shown
    assert explain("s.yaml: x", "must be another", value).came == shown
