import copy
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.recipe import DecaySpec, ScheduleSpec
from rethink_ray.spec.recipes import RECIPES, build_recipe
from rethink_ray.spec.resolve import (
    Cell,
    CellResolver,
    ExportedConfig,
    TrialConfig,
    base_recipe,
    base_values,
    cells_of,
    keep_of,
    lengths_of,
    space_of,
)
from rethink_ray.spec.settings import LENGTH_PATH, flatten, known_paths, value_at, with_settings
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study
from tests.builders import made_up_facts

FACTS = made_up_facts({"full": 400, "small": 60})
STUDY, _ = load_study(find_study("quickstart"))


def trial(
    arm: str = "scratch", seed: int = 0, study: Study = STUDY, **sampled: float
) -> TrialConfig:
    values = {name.replace("__", "."): value for name, value in sampled.items()}
    return CellResolver(study, Cell("full", arm), FACTS).resolve(values, seed)


def test_a_sampled_value_stands_in_the_recipe_under_its_path() -> None:
    assert trial(optimizer__lr=0.033).recipe.optimizer.lr == 0.033


def test_a_trials_id_changes_with_what_determines_its_numbers_and_with_nothing_else() -> None:
    assert trial().trial_id == trial().trial_id
    assert trial(seed=1).trial_id != trial().trial_id
    assert trial(optimizer__lr=0.01).trial_id != trial().trial_id
    longer = STUDY.model_copy(
        update={"schedule": STUDY.schedule.model_copy(update={"lengths": (2.0, 4.0, 6.0, 12.0)})}
    )
    assert trial(study=longer).trial_id == trial().trial_id
    busier = STUDY.model_copy(
        update={"resources": STUDY.resources.model_copy(update={"retries": 9})}
    )
    assert trial(study=busier).trial_id == trial().trial_id


def test_an_upstream_asset_is_shared_by_every_trial_that_can_start_from_it() -> None:
    assert assets_of(trial()) == ()
    fine_tuned, frozen = assets_of(trial("pretrained")), assets_of(trial("frozen", seed=5))
    assert fine_tuned == frozen
    assert fine_tuned[0].key.startswith("classifier-")


def test_a_path_that_an_arm_sets_leaves_its_space() -> None:
    arms = dict(STUDY.arms)
    arms["fixed"] = arms["scratch"].model_copy(update={"set": {"optimizer.lr": 0.03}})
    study = STUDY.model_copy(update={"arms": arms})
    assert "optimizer.lr" not in space_of(study, Cell("full", "fixed"))
    assert "optimizer.lr" in space_of(study, Cell("full", "scratch"))
    assert base_values(study, Cell("full", "scratch"))["optimizer.lr"] == 0.05


@pytest.mark.parametrize(
    ("settings", "leaves"),
    [
        ({"optimizer": {"lr": 0.03}}, "optimizer.lr"),
        ({"schedule": {"lengths": [2.0]}}, LENGTH_PATH),
        ({"schedule.lengths": [2.0]}, LENGTH_PATH),
    ],
)
def test_a_path_that_is_set_inside_a_group_leaves_the_space_too(
    settings: dict[str, object], leaves: str
) -> None:
    searched = STUDY.search | {LENGTH_PATH: Parameter(choice=(2, 4))}
    arms = dict(STUDY.arms)
    arms["fixed"] = arms["scratch"].model_copy(update={"set": settings})
    study = STUDY.model_copy(update={"arms": arms, "search": searched})
    assert leaves not in space_of(study, Cell("full", "fixed"))
    assert leaves in space_of(study, Cell("full", "scratch"))


def test_decay_points_per_length_replace_one_another_whole() -> None:
    recipe = build_recipe("tiny_retinanet")
    first = with_settings(recipe, {"schedule.decay.before_end": {"2": [0.4], "2.5": [0.3]}}, "t")
    second = with_settings(first, {"schedule": {"decay": {"before_end": {"4": [0.2]}}}}, "t")
    assert second.schedule.decay.before_end == {"4": (0.2,)}


def test_a_changed_study_does_not_remember_the_recipe_of_the_old_one() -> None:
    cell = Cell("full", "scratch")
    assert base_recipe(STUDY, cell) is base_recipe(STUDY, cell)
    changed = STUDY.model_copy(update={"settings": STUDY.settings | {"batch_size": 4}})
    assert base_recipe(changed, cell).batch_size == 4
    assert base_recipe(STUDY, cell).batch_size == 8


def test_what_a_study_has_resolved_is_no_part_of_its_value() -> None:
    base_recipe(STUDY, Cell("full", "scratch"))
    for copied in (STUDY.model_copy(), copy.deepcopy(STUDY), pickle.loads(pickle.dumps(STUDY))):
        assert not copied.base_recipes
        assert copied == STUDY


def test_cells_come_in_the_order_of_the_file() -> None:
    assert [c.name for c in cells_of(STUDY)[:4]] == [
        "full/scratch",
        "full/pretrained",
        "full/frozen",
        "small/scratch",
    ]


def test_a_longer_ladder_keeps_what_the_last_rung_kept() -> None:
    schedule = STUDY.schedule.model_copy(update={"lengths": (2.0, 4.0, 6.0, 9.0, 12.0)})
    longer = STUDY.model_copy(update={"schedule": schedule})
    assert lengths_of(longer, Cell("full", "scratch")) == (2.0, 4.0, 6.0, 9.0, 12.0)
    assert (
        keep_of(longer, Cell("full", "scratch"))[2:]
        == (keep_of(STUDY, Cell("full", "scratch"))[2],) * 3
    )


def test_a_searched_length_replaces_the_ladder() -> None:
    search = STUDY.search | {LENGTH_PATH: Parameter(choice=(4, 2))}
    budget = STUDY.budget.model_copy(update={"keep": (3,)})
    study = STUDY.model_copy(update={"search": search, "budget": budget})
    assert lengths_of(study, Cell("full", "scratch")) == (2.0, 4.0)
    assert keep_of(study, Cell("full", "scratch")) == (3,)
    sampled = CellResolver(study, Cell("full", "scratch"), FACTS).resolve({LENGTH_PATH: 4}, 0)
    assert sampled.recipe.schedule.lengths == (4.0,)


def test_he_2018_drops_the_rate_at_t_minus_60k_and_t_minus_20k_for_every_t() -> None:
    schedule = ScheduleSpec(unit=90_000, decay=DecaySpec(before_end=(2 / 3, 2 / 9)))
    assert schedule.points(2.0) == schedule.points(6.0) == (60_000, 20_000)
    assert schedule.branch_at(6.0) == 480_000
    trunk_and_branches = schedule.branch_at(6.0) + 5 * 60_000
    assert trunk_and_branches == 780_000
    assert sum(schedule.steps(x) for x in (2.0, 3.0, 4.0, 5.0, 6.0)) == 1_800_000


def test_an_exported_configuration_is_the_trials_with_what_it_scored() -> None:
    config = trial()
    exported = ExportedConfig(**config.model_dump(), expected={"val/ap": 1.0})
    assert exported.plain() == config
    assert TrialConfig.model_validate_json(exported.plain().model_dump_json()) == config
    assert exported.trial_id == config.trial_id


def test_a_trial_config_survives_json() -> None:
    config = trial("pretrained", optimizer__lr=0.0123457)
    again = TrialConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert again.trial_id == config.trial_id


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_base_recipe_can_be_put_together_from_its_own_values(name: str) -> None:
    recipe = build_recipe(name)
    for path, value in flatten(recipe).items():
        assert with_settings(recipe, {path: value}, "test") == recipe, path


@given(st.sampled_from(sorted(set(known_paths()) - {LENGTH_PATH})))
def test_every_path_can_be_read(path: str) -> None:
    recipe = build_recipe("tiny_retinanet")
    assert with_settings(recipe, {path: value_at(recipe, path)}, "test") == recipe


def test_a_value_its_field_refuses_names_the_path() -> None:
    with pytest.raises(SpecError, match="optimizer.lr: must be greater than 0"):
        trial(optimizer__lr=-1.0)


def test_a_condition_holds_only_for_the_values_it_names() -> None:
    momentum = Parameter(uniform=(0.8, 0.95), when={"optimizer.name": "sgd"})
    assert momentum.active({"optimizer.name": "sgd"})
    assert not momentum.active({"optimizer.name": "adamw"})
    assert not momentum.active({})


def test_a_range_contains_its_ends_and_an_int_range_only_whole_numbers() -> None:
    assert Parameter(log_uniform=(0.1, 1.0)).contains(0.1)
    assert not Parameter(log_uniform=(0.1, 1.0)).contains(1.1)
    assert not Parameter(int_uniform=(1, 4)).contains(2.5)
    assert Parameter(choice=("gn", 2)).contains(2)
    assert not Parameter(choice=(True,)).contains(1)


def test_the_study_file_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_study("quickstart").is_file()
