"""Messages of wrong keys and values in the words of a study file, not of pydantic."""

from pathlib import Path

import pytest

from rethink_ray.spec.check import check_regimes
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.load import load_study, validate
from rethink_ray.spec.regime import HoldoutSpec
from rethink_ray.spec.settings import spell_number

STUDY = """
study: s
data: {dataset: shapes, shapes: {train: 160}}
regimes: {full: {images: all}}
recipe: tiny_faster_rcnn
arms: {a: {}, b: {}}
search: {optimizer.lr: {log_uniform: [0.005, 0.08]}}
schedule: {unit: 4, lengths: [1, 2], warmup: 1}
"""
INPUT = "{init: {source: file, weights: x.pth, weights_norm: bn, input: "
CLAIM = "{says: better, side: {arm: a}, against: {arm: b}, where: {metric: voc_ap50}}"
HOLDOUT = (
    "data.select_on.holdout: must be a number of images or a share such as 20% (above 0 and at "
    "most 100, no space), but got "
)
OF_DATA = "Write data.{}: it belongs to the study's data, which all arms and regimes share."


def refuse(folder: Path, *settings: str) -> str:
    """The message about a study with these settings, without its file."""
    path = folder / "s.yaml"
    path.write_text(STUDY)
    with pytest.raises(SpecError) as caught:
        load_study(path, settings)
    return str(caught.value).replace(f"{path}: ", "")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "try_first=[{optimizer.lr: 4e-2}]",
            "try_first[0].optimizer.lr: must be a number, but got '4e-2'. Write 4.0e-2 (YAML reads "
            "4e-2 as text).",
        ),
        (
            "try_first={optimizer.lr: 0.04}",
            "try_first: must be a list, but got {optimizer.lr: 0.04}. Put it in brackets: [{...}].",
        ),
        (
            "try_first=[{optimizer: {lr: 0.04}}]",
            "try_first.0.optimizer: must be one value, but got {lr: 0.04}. Write a path with dots: "
            "optimizer.KEY: VALUE.",
        ),
        (
            f"arms.a.set={INPUT}{{mean: [0.5], std: [1, 1, 1]}}}}}}",
            "arms.a.set: init.input.mean: must be 3 numbers, but got [0.5].",
        ),
        (
            f"arms.a.set={INPUT}{{mean: [], std: [1, 1, 1]}}}}}}",
            "arms.a.set: init.input.mean: must be 3 numbers, but got [].",
        ),
        (
            f"arms.a.set={INPUT}{{mean: [0, 0, 0, 0], std: [1, 1, 1]}}}}}}",
            "arms.a.set: init.input.mean: must be 3 numbers, but got [0, 0, 0, 0].",
        ),
        (
            f"arms.a.set={INPUT}{{mean: 0.5, std: [1, 1, 1]}}}}}}",
            "arms.a.set: init.input.mean: must be a list, but got 0.5.",
        ),
        (
            "settings.upstream.crop=0.5",
            "settings: upstream.crop: must be a list, but got 0.5.",
        ),
        (
            "settings.upstream.crop=[0.5]",
            "settings: upstream.crop: must be 2 numbers, but got [0.5].",
        ),
    ],
)
def test_a_value_of_another_kind_is_refused_in_plain_words(
    tmp_path: Path, setting: str, message: str
) -> None:
    assert refuse(tmp_path, setting) == message


@pytest.mark.parametrize("holdout", ["0.2", "'20 %'", "'120%'", "'0%'", "0", "true"])
def test_a_hold_out_that_is_no_number_and_no_share_is_refused_in_one_line(
    tmp_path: Path, holdout: str
) -> None:
    message = refuse(tmp_path, f"data.select_on={{holdout: {holdout}}}")
    assert message == f"{HOLDOUT}{holdout}."


def test_a_hold_out_may_be_a_number_or_all_of_the_training_images() -> None:
    for holdout in (1, "0.5%", "20%", "100%"):
        assert validate(HoldoutSpec, {"holdout": holdout}, "select_on").holdout == holdout


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("keep_empty=false", "keep_empty"),
        ("settings.detector.voc_offset=0", "voc_offset"),
        ("arms.a.set.data.keep_empty=false", "keep_empty"),
        ("arms.a.set.keep_empty=false", "keep_empty"),
        ("arms.a.keep_empty=false", "keep_empty"),
        ("regimes.full.set={data.select_on: val}", "select_on"),
        ("search.data.voc_offset={choice: [0, 1]}", "voc_offset"),
    ],
)
def test_a_key_of_data_that_stands_elsewhere_is_sent_to_data(
    tmp_path: Path, setting: str, key: str
) -> None:
    assert refuse(tmp_path, setting).endswith(OF_DATA.format(key))


def test_a_misspelt_path_of_the_recipe_still_gets_the_nearest_one(tmp_path: Path) -> None:
    message = refuse(tmp_path, "settings.labels.keep_emty=true")
    assert message.endswith("Did you mean 'labels.keep_empty'?")


def test_a_claim_about_a_voc_metric_needs_one_as_the_objective(tmp_path: Path) -> None:
    assert refuse(tmp_path, f"claims.c={CLAIM}") == (
        "claims.c: must name a metric that is scored where objective.metric is ap, but got "
        "'voc_ap50'. Make it the objective: objective: {metric: voc_ap50}."
    )
    study, _ = load_study(tmp_path / "s.yaml", [f"claims.c={CLAIM}", "objective.metric=voc07_ap50"])
    assert study.objective.metric == "voc07_ap50"


def test_a_regime_larger_than_a_hold_out_leaves_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY)
    settings = ["regimes.full.images=150", "data.select_on={holdout: 20%}"]
    study, _ = load_study(tmp_path / "s.yaml", settings)
    with pytest.raises(SpecError) as caught:
        check_regimes(study, 133, "s.yaml")
    assert str(caught.value) == (
        "s.yaml: regimes.full.images: must be at most the 133 training images that the hold-out "
        "leaves, but got 150. Write a smaller number, or all."
    )
    study, _ = load_study(tmp_path / "s.yaml", ["regimes.full.images=150"])
    with pytest.raises(SpecError, match="must be at most the 133 training images there are"):
        check_regimes(study, 133, "s.yaml")


def test_a_mean_of_pixels_up_to_one_is_refused_where_white_is_255(tmp_path: Path) -> None:
    of_one = "{mean: [0.5, 0.5, 0.5], std: [1, 1, 1], scale: 255}}}"
    assert refuse(tmp_path, f"arms.a.set={INPUT}{of_one}") == (
        "arms.a.set: init.input.mean: must be the mean of pixels from 0 to 255 where scale is "
        "255, but got [0.5, 0.5, 0.5]. Leave scale out for the mean of pixels from 0 to 1."
    )
    of_zero = of_one.replace("[0.5, 0.5, 0.5]", "[0, 0, 0]")
    load_study(tmp_path / "s.yaml", [f"arms.a.set={INPUT}{of_zero}"])


def test_numbers_that_yaml_reads_as_text_are_spelt_as_it_reads_numbers() -> None:
    assert [spell_number(text) for text in ("4e-2", "1e3", "half")] == ["4.0e-2", "1.0e+3", ""]
    assert spell_number("1e3", is_whole=True) == "1000"
