from pathlib import Path

import pytest
import yaml

from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.resolve import Cell, keep_of
from rethink_ray.spec.settings import with_settings
from tests.golden_words import assert_says

GOOD = """
study: s
data: {dataset: shapes}
regimes: {full: {images: all}, small: {images: 60, set: {schedule.unit: 100}}}
recipe: tiny_retinanet
settings: {batch_size: 8}
arms:
  scratch: {}
  pretrained: {set: {init.source: upstream}, search: {init.frozen: {choice: [none, stem]}}}
search:
  optimizer.lr: {log_uniform: [0.002, 0.1]}
schedule: {unit: 150, lengths: [2, 4, 6], warmup: 20}
budget: {trials: 8, keep: [8, 4, 2]}
"""

TAUGHT = GOOD.replace(
    "scratch: {}", "scratch: {set: {labels.kind: human, detector.norm_batch: 8}}"
).replace("pretrained: {", "pretrained: {teacher: scratch, ")
"""Where ``settings.labels.kind`` makes students, the second arm is one."""

# (key, what is put there as YAML, what the message must say)
BAD = [
    ("budgets", "{trials: 3}", ["budgets", "known key", "Did you mean 'budget'"]),
    ("budget.trails", "3", ["budget.trails", "known key", "'trials'"]),
    ("budget.trials", "many", ["budget.trials", "many"]),
    ("budget.trials", "0", ["budget.trials", "0"]),
    ("search.optimizer.lr", "{log_uniform: [1e-3, 0.1]}", ["1e-3", "1.0e-3"]),
    ("settings.optimizer.lr", "1e-3", ["settings", "optimizer.lr", "Write 1.0e-3"]),
    ("search.optimizer.lr", "{log_uniform: [0.1, 0.002]}", ["optimizer.lr", "low < high"]),
    ("search.optimizer.lr", "{uniform: [0.1, 0.1]}", ["optimizer.lr", "low < high"]),
    ("search.optimizer.lr", "{choice: []}", ["optimizer.lr", "exactly one"]),
    ("search.optimizer.lr", "{log_uniform: [0, 0.1]}", ["optimizer.lr", "above zero"]),
    ("search.optimizer.learning_rate", "{uniform: [0.1, 0.2]}", ["must be a path of the recipe"]),
    ("search.optimizer.lr", "{log_uniform: [0.07, 0.1]}", ["base recipe's value 0.05", "settings"]),
    ("search.optimizer.lr", "{log_uniform: [0.002, 0.1], when: {opt: sgd}}", ["when", "'opt'"]),
    ("search.detector.norm", "{choice: [gn, gm]}", ["detector.norm", "'gm'"]),
    ("search.detector.norm", "{uniform: [0.1, 0.2]}", ["detector.norm", "hold a number"]),
    ("settings.optimizer.momentun", "0.9", ["settings", "Did you mean 'optimizer.momentum'"]),
    ("tuning", "{copy_from: pretraned}", ["copy_from", "arm", "'pretrained'"]),
    ("schedule.lengths", "[2, 6, 4]", ["schedule.lengths", "increasing"]),
    ("schedule.warmup", "250", ["full/scratch", "warm-up", "300 updates"]),
    ("schedule.lengths", "[0.5, 4, 6]", ["warm-up + first decay point"]),
    ("budget.keep", "[4, 8, 2]", ["budget", "keep", "never grow"]),
    ("budget.keep", "[8, 4]", ["budget.keep", "3 lengths"]),
    ("budget.keep", "[9, 4, 2]", ["budget.keep", "8 trials"]),
    ("resources.workers", "3", ["batch_size", "divide among 3 workers"]),
    ("settings.detector.norm_batch", "4", []),
    ("settings.init.frozen", "stem", ["init.frozen", "random weights", "3.3 AP"]),
    ("settings.detector.norm", "frozen_bn", ["detector.norm", "random weights"]),
    ("data.select_on", "train", ["data.select_on", "val, test"]),
    ("data.report_on", "tests", ["data.report_on", "'tests'"]),
    ("recipe", "tiny_retina", ["recipe", "Did you mean 'tiny_retinanet'"]),
    ("data.dataset", "shape", ["data.dataset"]),
    ("data.dataset", "coco", ["data", "root"]),
    ("regimes.full.images", "-3", ["regimes.full.images", "-3"]),
    ("resources.gpus_per_worker", "1.5", ["resources", "whole number", "1.5"]),
    ("resources", "{workers: 2, gpus_per_worker: 0.5}", ["resources", "must be whole", "0.5"]),
    ("arms.a/b", "{}", ["arms", "without / or", "a/b", "Rename"]),
]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return path


def test_a_good_study_loads(tmp_path: Path) -> None:
    study, text = load_study(written(tmp_path, GOOD))
    assert study.study == "s"
    assert text == GOOD


@pytest.mark.parametrize(("key", "value", "said"), [b for b in BAD if b[2]])
def test_bad_input_names_file_key_value_and_remedy(
    tmp_path: Path, key: str, value: str, said: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        load_study(written(tmp_path, GOOD), [f"{key}={value}"])
    message = str(caught.value)
    assert "s.yaml" in message
    for words in said:
        assert words in message, message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty file"),
        ("- a\n- b", "must be a mapping"),
        ("a: [1", "must be YAML"),
        (GOOD + "\nstudy: t\n", "names must be unique"),
        (GOOD.replace("scratch: {}", "scratch: {}\n  scratch: {}"), "names must be unique"),
        (GOOD.replace("study: s\n", ""), "study: must be given"),
        (GOOD + "question: 2020-13-45\n", "month must be in 1..12"),
        (GOOD + "question: &a [*a]\n", "question: must end somewhere"),
        (GOOD + "seed: " + "9" * 5000 + "\n", "must be YAML"),
        (GOOD + "x: \0\n", "special characters are not allowed"),
        (GOOD.replace("scratch: {}", "off: {}"), "arms: names must be text, but got False"),
        (GOOD.replace("scratch: {}", "2020-01-01: {}"), "quote it, '2020-01-01'"),
        ("a: " + "[" * 3000, "too many nested brackets"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        load_study(written(tmp_path, text))
    assert "s.yaml" in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="readable file"):
        load_study(tmp_path / "missing.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00study")
    with pytest.raises(SpecError, match="UTF-8"):
        load_study(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{init.source: torchvision, init.weights: X}", "has no weights for 'tiny'"),
        (
            "{init.source: torchvision, init.weights: X, detector.backbone: resnet50}",
            "trained with bn",
        ),
        ("{init.source: torchvision, detector.backbone: resnet50}", "init.weights"),
        ("{init.source: file, init.weights: a.pt}", "weights_norm"),
        ("{init.source: file, init.weights: a.pt, init.weights_norm: bn}", "trained with bn"),
    ],
)
def test_weights_and_norms_that_mean_nothing_are_refused(
    tmp_path: Path, settings: str, said: str
) -> None:
    text = GOOD.replace("{init.source: upstream}", settings)
    with pytest.raises(SpecError, match=said):
        load_study(written(tmp_path, text))


def test_a_combination_that_only_the_search_reaches_is_refused_too(tmp_path: Path) -> None:
    text = GOOD.replace(
        "{init.source: upstream}",
        "{init.source: torchvision, init.weights: X, detector.backbone: resnet50, "
        "detector.norm: bn}",
    )
    load_study(written(tmp_path, text))
    text = text.replace("detector.norm: bn}", "init.frozen: none}").replace(
        "search:\n  optimizer.lr", "search:\n  detector.norm: {choice: [gn, bn]}\n  optimizer.lr"
    )
    with pytest.raises(SpecError, match="trained with bn"):
        load_study(written(tmp_path, text))


def test_bn_needs_the_batch_its_norm_was_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    bn = ["settings.detector.norm=bn", "settings.detector.norm_batch=4"]
    with pytest.raises(SpecError, match="batch_size / workers = 8"):
        load_study(path, bn)
    study, _ = load_study(path, [*bn, "resources.workers=2"])
    assert study.resources.workers == 2
    together = ["settings.detector.norm=sync_bn", "resources.workers=2"]
    with pytest.raises(SpecError, match="batch_size = 8 under sync_bn"):
        load_study(path, [*together, "settings.detector.norm_batch=4"])


def test_an_override_reaches_the_study_and_its_text(tmp_path: Path) -> None:
    study, text = load_study(
        written(tmp_path, GOOD), ["arms.scratch.set.optimizer.lr=0.01", "seed=7"]
    )
    assert study.arms["scratch"].set == {"optimizer.lr": 0.01}
    assert yaml.safe_load(text)["seed"] == 7
    with pytest.raises(SpecError, match="path=value"):
        load_study(written(tmp_path, GOOD), ["seed"])


def test_a_goal_is_read_with_a_notice_and_only_to_maximize(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, GOOD)
    plain, _ = load_study(path)
    assert not caplog.messages
    study, _ = load_study(path, ["objective={metric: ap, goal: maximize}"])
    assert study == plain
    [notice] = caplog.messages
    assert_says("spec", "objective.goal", notice.replace(str(path), "s.yaml"))
    with pytest.raises(SpecError, match="objective.goal: must be left out, but got 'minimize'"):
        load_study(path, ["objective.goal=minimize"])


def test_a_study_is_found_by_its_stem() -> None:
    assert find_study("quickstart").name == "quickstart.yaml"
    with pytest.raises(SpecError, match="quickstart"):
        find_study("quickstrt")


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_a_byte_order_mark_and_windows_line_ends_are_read(
    tmp_path: Path, before: bytes, newline: bytes
) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(before + GOOD.encode().replace(b"\n", newline))
    assert load_study(path)[0] == load_study(written(tmp_path, GOOD))[0]


def test_an_anchor_is_a_copy_and_no_second_name_for_one_arm(tmp_path: Path) -> None:
    text = GOOD.replace("scratch: {}", "scratch: &x {set: {batch_size: 4}}\n  twin: *x")
    study, _ = load_study(written(tmp_path, text), ["arms.scratch.set.batch_size=2"])
    assert study.arms["scratch"].set == {"batch_size": 2}
    assert study.arms["twin"].set == {"batch_size": 4}
    merged = text.replace("*x", "{<<: *x, search: {}}")
    assert load_study(written(tmp_path, merged))[0].arms["twin"].set == {"batch_size": 4}


def test_an_override_may_name_arms_like_keys_and_fill_empty_groups(tmp_path: Path) -> None:
    text = GOOD.replace("scratch: {}", "scratch:\n  search: {}")
    overrides = ["arms.scratch.set.optimizer.lr=0.01", "arms.search.set.batch_size=4"]
    study, _ = load_study(written(tmp_path, text), overrides)
    assert study.arms["scratch"].set == {"optimizer.lr": 0.01}
    assert study.arms["search"].set == {"batch_size": 4}
    with pytest.raises(SpecError, match="names must be unique"):
        load_study(written(tmp_path, GOOD), ["budget={trials: 8, trials: 9}"])


def test_every_batch_that_a_range_reaches_must_divide(tmp_path: Path) -> None:
    search = "search.batch_size={int_uniform: [4, 8]}"
    load_study(written(tmp_path, GOOD), [search])
    with pytest.raises(SpecError, match="batch_size: must divide among 2 workers, but got 5"):
        load_study(written(tmp_path, GOOD), [search, "resources.workers=2"])


def test_a_combination_under_a_condition_is_refused_where_the_condition_can_hold(
    tmp_path: Path,
) -> None:
    searched = [
        "search.optimizer.name={choice: [sgd, adamw]}",
        "arms.scratch.search.init.frozen={choice: [none, stem], when: {optimizer.name: adamw}}",
    ]
    with pytest.raises(SpecError, match="init.frozen: must be none on random weights"):
        load_study(written(tmp_path, GOOD), searched)


def test_an_arm_with_a_shorter_ladder_reads_the_beginning_of_keep(tmp_path: Path) -> None:
    study, _ = load_study(written(tmp_path, GOOD), ["arms.scratch.set.schedule.lengths=[2, 4]"])
    assert keep_of(study, Cell("full", "scratch")) == (8, 4)
    assert keep_of(study, Cell("full", "pretrained")) == (8, 4, 2)


def test_pseudo_labels_cut_each_batch_into_whole_parts(tmp_path: Path) -> None:
    path = written(tmp_path, TAUGHT)
    student = ["settings.labels.kind=self_training"]
    study, _ = load_study(path, [*student, "settings.labels.share=0.25"])
    assert study.settings["labels.share"] == 0.25
    with pytest.raises(SpecError, match="whole parts"):
        load_study(path, [*student, "settings.labels.share=0.3"])
    with pytest.raises(SpecError, match="8 workers divide"):
        load_study(path, [*student, "resources.workers=8"])
    each = [*student, "settings.detector.norm=bn", "settings.detector.norm_batch=4"]
    assert load_study(path, each)
    with pytest.raises(SpecError, match="each kind is normalised by itself"):
        load_study(path, [*each, "settings.labels.share=0.25"])


def test_a_hard_threshold_is_one_that_the_teacher_can_see(tmp_path: Path) -> None:
    path = written(tmp_path, TAUGHT)
    low = ["settings.labels.kind=self_training", "settings.labels.threshold=0.01"]
    with pytest.raises(SpecError, match=r"detector.score_threshold = 0.05"):
        load_study(path, low)
    load_study(path, [*low, "settings.detector.score_threshold=0.005"])
    with pytest.raises(SpecError, match="where the teacher is continued"):
        load_study(path, ["settings.labels.kind=continued", "settings.labels.start=init"])


def test_a_teachers_keypoints_are_no_labels(tmp_path: Path) -> None:
    recipe = build_recipe("tiny_faster_rcnn")
    student = {"detector.family": "keypoint_rcnn", "labels.kind": "self_training"}
    with pytest.raises(SpecError, match="without keypoints"):
        check_recipe(with_settings(recipe, student, "test"), "here")
