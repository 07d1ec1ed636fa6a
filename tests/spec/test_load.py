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
from tests.spec.refusals import refused

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

# (key, value in YAML, names and numbers that the message holds)
BAD = [
    ("budgets", "{trials: 3}", ["budgets", "'budget'"]),
    ("budget.trails", "3", ["budget.trails", "'trials'"]),
    ("budget.trials", "many", ["budget.trials", "many"]),
    ("budget.trials", "0", ["budget.trials", "0"]),
    ("search.optimizer.lr", "{log_uniform: [1e-3, 0.1]}", ["1e-3", "1.0e-3"]),
    ("settings.optimizer.lr", "1e-3", ["settings", "optimizer.lr", "1.0e-3"]),
    ("search.optimizer.lr", "{log_uniform: [0.1, 0.002]}", ["optimizer.lr", "[0.1, 0.002]"]),
    ("search.optimizer.lr", "{uniform: [0.1, 0.1]}", ["optimizer.lr", "[0.1, 0.1]"]),
    ("search.optimizer.lr", "{choice: []}", ["optimizer.lr", "log_uniform"]),
    ("search.optimizer.lr", "{log_uniform: [0, 0.1]}", ["optimizer.lr", "[0.0, 0.1]"]),
    ("search.optimizer.learning_rate", "{uniform: [0.1, 0.2]}", ["optimizer.learning_rate"]),
    ("search.optimizer.lr", "{log_uniform: [0.07, 0.1]}", ["optimizer.lr", "0.05", "settings"]),
    ("search.optimizer.lr", "{log_uniform: [0.002, 0.1], when: {opt: sgd}}", ["when", "'opt'"]),
    ("search.detector.norm", "{choice: [gn, gm]}", ["detector.norm", "'gm'"]),
    ("search.detector.norm", "{uniform: [0.1, 0.2]}", ["detector.norm"]),
    ("settings.optimizer.momentun", "0.9", ["settings", "'optimizer.momentum'"]),
    ("tuning", "{copy_from: pretraned}", ["copy_from", "'pretrained'"]),
    ("schedule.lengths", "[2, 6, 4]", ["schedule.lengths", "[2.0, 6.0, 4.0]"]),
    ("schedule.lengths", "[]", ["schedule.lengths", "at least one entry", "[]"]),
    ("settings.evaluation.scales", "[]", ["evaluation.scales", "at least one entry"]),
    ("settings.detector.cascade_ious", "[]", ["cascade_ious", "at least 2 entries"]),
    ("search.init.weights", "{choice: [a]}", ["base recipe's value null", "['a']"]),
    ("arms", "{}", ["arms", "at least one entry", "{}"]),
    ("study", "''", ["study", "pattern", "''"]),
    ("schedule.warmup", "250", ["full/scratch", "300 updates"]),
    ("schedule.lengths", "[0.5, 4, 6]", ["0.5x", "75 updates"]),
    (
        "schedule",
        "{unit: 10, lengths: [1, 2], warmup: 0, decay: {before_end: [1]}}",
        ["10 updates"],
    ),
    (
        "schedule.decay",
        "{kind: one_minus_sqrt, before_end: []}",
        ["schedule.decay.before_end", "where the decay of 2x begins"],
    ),
    ("settings.optimizer.ema", "{half_life: 0}", ["optimizer.ema.half_life", "greater than 0"]),
    ("settings.optimizer.ema.half_life", "0.1", ["'optimizer.ema.half_life'", "optimizer.ema"]),
    ("budget.keep", "[4, 8, 2]", ["budget.keep", "[4, 8, 2]"]),
    ("budget.keep", "[8, 4]", ["budget.keep", "3 lengths"]),
    ("budget.keep", "[9, 4, 2]", ["budget.keep", "8 trials"]),
    ("resources.workers", "3", ["batch_size", "3 workers"]),
    ("settings.init.frozen", "stem", ["init.frozen", "3.3 AP"]),
    ("settings.detector.norm", "frozen_bn", ["detector.norm", "gn, bn or sync_bn"]),
    ("data.select_on", "train", ["data.select_on", "val, test"]),
    ("data.report_on", "tests", ["data.report_on", "'tests'"]),
    ("recipe", "tiny_retina", ["recipe", "'tiny_retinanet'"]),
    ("data.dataset", "shape", ["data.dataset"]),
    ("data.dataset", "coco", ["data.root"]),
    ("regimes.full.images", "-3", ["regimes.full.images", "-3"]),
    ("resources.gpus_per_worker", "1.5", ["resources.gpus_per_worker", "1.5"]),
    ("resources.gpus_per_worker", "2", ["resources.gpus_per_worker", "resources.workers"]),
    ("resources", "{workers: 2, gpus_per_worker: 0.5}", ["resources.gpus_per_worker", "0.5"]),
    ("arms.a/b", "{}", ["arms", "a/b"]),
]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return path


def test_a_good_study_loads(tmp_path: Path) -> None:
    study, text = load_study(written(tmp_path, GOOD))
    assert study.study == "s"
    assert text == GOOD


@pytest.mark.parametrize(("key", "value", "facts"), BAD)
def test_bad_input_names_file_key_value_and_remedy(
    tmp_path: Path, key: str, value: str, facts: list[str]
) -> None:
    path = written(tmp_path, GOOD)
    with refused(f"{key}={value}", [path.name, *facts], path):
        load_study(path, [f"{key}={value}"])


@pytest.mark.parametrize(
    ("occasion", "text", "fact"),
    [
        ("an empty file", "", "s.yaml"),
        ("a list", "- a\n- b", "list"),
        ("an open bracket", "a: [1", "line 1"),
        ("a study twice", GOOD + "\nstudy: t\n", "study"),
        ("an arm twice", GOOD.replace("scratch: {}", "scratch: {}\n  scratch: {}"), "scratch"),
        ("no name", GOOD.replace("study: s\n", ""), "study"),
        ("no date", GOOD + "question: 2020-13-45\n", "1..12"),
        ("an alias in itself", GOOD + "question: &a [*a]\n", "question"),
        ("a number of 5000 digits", GOOD + "seed: " + "9" * 5000 + "\n", "4300 digits"),
        ("a number of 65 bits", GOOD + f"seed: {2**64}\n", "65 bits"),
        ("a negative number of 400 digits", GOOD + "seed: -" + "9" * 400 + "\n", "seed"),
        ("a null byte", GOOD + "x: \0\n", "special characters"),
        ("an arm called off", GOOD.replace("scratch: {}", "off: {}"), "off, no and false"),
        ("an arm called a date", GOOD.replace("scratch: {}", "2020-01-01: {}"), "'2020-01-01'"),
        ("3000 brackets", "a: " + "[" * 3000, "brackets"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, occasion: str, text: str, fact: str) -> None:
    path = written(tmp_path, text)
    with refused(occasion, ["s.yaml", fact], path):
        load_study(path)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with refused("a missing file", ["missing.yaml"], tmp_path / "missing.yaml"):
        load_study(tmp_path / "missing.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00study")
    with refused("bytes", ["b.yaml", "UTF-8"], tmp_path / "b.yaml"):
        load_study(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ("{init.source: torchvision, init.weights: X}", "'tiny'"),
        (
            "{init.source: torchvision, init.weights: X, detector.backbone: resnet50}",
            "detector.norm",
        ),
        ("{init.source: torchvision, detector.backbone: resnet50}", "init.weights"),
        ("{init.source: file, init.weights: a.pt}", "init.weights_norm"),
        ("{init.source: file, init.weights: a.pt, init.weights_norm: bn}", "detector.norm"),
    ],
)
def test_weights_and_norms_that_mean_nothing_are_refused(
    tmp_path: Path, settings: str, fact: str
) -> None:
    path = written(tmp_path, GOOD.replace("{init.source: upstream}", settings))
    with refused(settings, [fact], path):
        load_study(path)


def test_a_combination_that_only_the_search_reaches_is_refused_too(tmp_path: Path) -> None:
    text = GOOD.replace(
        "{init.source: upstream}",
        "{init.source: torchvision, init.weights: IMAGENET1K_V1, detector.backbone: resnet50, "
        "detector.norm: bn}",
    )
    load_study(written(tmp_path, text))
    text = text.replace("detector.norm: bn}", "init.frozen: none}").replace(
        "search:\n  optimizer.lr", "search:\n  detector.norm: {choice: [gn, bn]}\n  optimizer.lr"
    )
    path = written(tmp_path, text)
    with refused("a norm that only the search reaches", ["bn"], path):
        load_study(path)


def test_bn_needs_the_batch_its_norm_was_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    bn = ["settings.detector.norm=bn", "settings.detector.norm_batch=4"]
    with refused("bn on another batch", ["batch_size / workers = 8"], path):
        load_study(path, bn)
    study, _ = load_study(path, [*bn, "resources.workers=2"])
    assert study.resources.workers == 2
    together = ["settings.detector.norm=sync_bn", "resources.workers=2"]
    with refused("sync_bn on another batch", ["batch_size = 8", "sync_bn"], path):
        load_study(path, [*together, "settings.detector.norm_batch=4"])


def test_an_override_reaches_the_study_and_its_text(tmp_path: Path) -> None:
    study, text = load_study(
        written(tmp_path, GOOD), ["arms.scratch.set.optimizer.lr=0.01", "seed=7"]
    )
    assert study.arms["scratch"].set == {"optimizer.lr": 0.01}
    assert yaml.safe_load(text)["seed"] == 7
    with refused("an override without value", ["path=value"]):
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
    with refused("goal: minimize", ["objective.goal", "'minimize'"], path):
        load_study(path, ["objective.goal=minimize"])


def test_a_study_that_ships_is_found_by_its_name() -> None:
    assert find_study("quickstart").name == "quickstart.yaml"
    with refused("an unknown stem", ["quickstart"]):
        find_study("quickstrt")


def test_a_folder_is_no_study_file_and_a_study_directory_goes_on_with_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    with refused("a folder in place of a study file", ["photos", "rethink-ray data check photos"]):
        find_study("photos")
    Path("photos/resolved.json").touch()
    with refused("a study directory in place of its file", ["rethink-ray resume photos"]):
        find_study("photos")


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
    with refused("a key twice in an override", ["trials"]):
        load_study(written(tmp_path, GOOD), ["budget={trials: 8, trials: 9}"])


def test_every_batch_that_a_range_reaches_must_divide(tmp_path: Path) -> None:
    search = "search.batch_size={int_uniform: [4, 8]}"
    load_study(written(tmp_path, GOOD), [search])
    path = written(tmp_path, GOOD)
    with refused("a batch of a range", ["batch_size", "2 workers", "5"], path):
        load_study(path, [search, "resources.workers=2"])


def test_a_combination_under_a_condition_is_refused_where_the_condition_can_hold(
    tmp_path: Path,
) -> None:
    searched = [
        "search.optimizer.name={choice: [sgd, adamw]}",
        "arms.scratch.search.init.frozen={choice: [none, stem], when: {optimizer.name: adamw}}",
    ]
    path = written(tmp_path, GOOD)
    with refused("frozen under a condition", ["init.frozen"], path):
        load_study(path, searched)


def test_an_arm_with_a_shorter_ladder_reads_the_beginning_of_keep(tmp_path: Path) -> None:
    study, _ = load_study(written(tmp_path, GOOD), ["arms.scratch.set.schedule.lengths=[2, 4]"])
    assert keep_of(study, Cell("full", "scratch")) == (8, 4)
    assert keep_of(study, Cell("full", "pretrained")) == (8, 4, 2)


def test_pseudo_labels_cut_each_batch_into_whole_parts(tmp_path: Path) -> None:
    path = written(tmp_path, TAUGHT)
    student = ["settings.labels.kind=self_training"]
    study, _ = load_study(path, [*student, "settings.labels.share=0.25"])
    assert study.settings["labels.share"] == 0.25
    with refused("a share of no whole parts", ["labels.share", "0.3"], path):
        load_study(path, [*student, "settings.labels.share=0.3"])
    with refused("a share that workers cannot divide", ["8 workers"], path):
        load_study(path, [*student, "resources.workers=8"])
    each = [*student, "settings.detector.norm=bn", "settings.detector.norm_batch=4"]
    assert load_study(path, each)
    with refused("a share beside norm_batch", ["labels.share", "0.25"], path):
        load_study(path, [*each, "settings.labels.share=0.25"])


def test_a_hard_threshold_is_one_that_the_teacher_can_see(tmp_path: Path) -> None:
    path = written(tmp_path, TAUGHT)
    low = ["settings.labels.kind=self_training", "settings.labels.threshold=0.01"]
    with refused("a low threshold", ["detector.score_threshold = 0.05"], path):
        load_study(path, low)
    load_study(path, [*low, "settings.detector.score_threshold=0.005"])
    with refused("a continued teacher from init", ["labels.start"], path):
        load_study(path, ["settings.labels.kind=continued", "settings.labels.start=init"])


def test_a_teachers_keypoints_are_no_labels(tmp_path: Path) -> None:
    recipe = build_recipe("tiny_faster_rcnn")
    student = {"detector.family": "keypoint_rcnn", "labels.kind": "self_training"}
    with refused("a student with keypoints", ["keypoint_rcnn"]):
        check_recipe(with_settings(recipe, student, "test"), "here")


@pytest.mark.parametrize("keep", ["[]", "[4, 2]"])
def test_a_searched_length_needs_one_entry_of_keep(tmp_path: Path, keep: str) -> None:
    path = written(tmp_path, GOOD)
    overrides = ["search.schedule.length={choice: [2, 4]}", f"budget.keep={keep}"]
    with refused(f"keep {keep} beside a searched length", ["budget.keep", keep], path):
        load_study(path, overrides)
    load_study(path, [overrides[0], "budget.keep=[4]"])


def test_no_entry_of_keep_is_no_entry_for_each_length(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    with refused("keep [] for three lengths", ["budget.keep", "[]", "3 lengths"], path):
        load_study(path, ["budget.keep=[]"])


@pytest.mark.parametrize("key", ["schedule.lengths", "settings.schedule.lengths"])
def test_no_length_beside_a_searched_length_is_refused_by_name(tmp_path: Path, key: str) -> None:
    path = written(tmp_path, GOOD)
    with pytest.raises(SpecError, match=r"schedule.lengths: must have at least one entry"):
        load_study(path, [f"{key}=[]", "search.schedule.length={choice: [2, 4]}"])
