"""Every study that ships: it loads, and what it resolves to is written down in ``tests/golden``.

A changed default shows here as a changed file. Rewrite them with
``REWRITE_GOLDEN=1 pytest tests/test_search_spaces.py`` and read the difference before committing.
"""

import json
import os
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from rethink_ray.commands.planning import plan_lines
from rethink_ray.detection.size import read_shipped_sizes, size_key
from rethink_ray.search.costs import ladder_steps, separate_steps
from rethink_ray.search.plan import plan_study
from rethink_ray.session import load_study_input
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.first_values import first_values
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.regime import HoldoutSpec, num_held_out, num_images, num_reserved
from rethink_ray.spec.resolve import (
    Cell,
    TrialConfig,
    base_recipe,
    base_values,
    cells_of,
    keep_of,
    lengths_of,
    space_of,
)
from rethink_ray.spec.settings import flatten
from rethink_ray.spec.study import Study
from tests.builders import made_up_facts

HERE = Path(__file__).resolve().parent
STEMS = sorted(path.stem for path in (HERE.parent / "search_spaces").glob("*.yaml"))


COCO = {"train": 118_287, "val": 5_000}
"""Images of COCO 2017."""
GLYPH_SCENES = made_up_facts(
    {"all": 2000}, categories=tuple(f"category {number}" for number in range(12))
)
"""What upstream detectors of shipped studies learn from."""


@cache
def load_shipped(stem: str) -> tuple[Study, str]:
    return load_study(find_study(stem))


def facts_of(study: Study) -> DataFacts:
    """What ``data`` would find, for data sets that are not on every machine."""
    shapes = study.data.shapes
    known = {"shapes": {"train": shapes.train, "val": shapes.val, "test": shapes.test}}
    splits = dict(known.get(str(study.data.dataset), COCO))
    holdout = study.data.select_on
    if isinstance(holdout, HoldoutSpec):
        splits["holdout"] = num_reserved(holdout.holdout, splits["train"])
    everything = splits["train"] - splits.get("holdout", 0)
    sizes = {name: num_images(regime.images, everything) for name, regime in study.regimes.items()}
    return DataFacts(
        fingerprint="f" * 16,
        categories=tuple(
            f"category {k}" for k in range(80 if splits["train"] == COCO["train"] else 6)
        ),
        regime_sizes=sizes,
        regime_digests={name: f"digest of {num}" for name, num in sizes.items()},
        split_sizes=splits,
        holdout_sizes={
            name: num_held_out(holdout.holdout, num)
            for name, num in sizes.items()
            if isinstance(holdout, HoldoutSpec) and isinstance(holdout.holdout, str)
        },
        upstream_fingerprint="u" * 16,
        upstream_detection=study.data.upstream_detection and GLYPH_SCENES,
    )


def resolved(study: Study) -> dict[str, Any]:
    """The first cell's whole base recipe, and of every cell what differs, space and ladder."""
    cells = cells_of(study)
    whole = flatten(base_recipe(study, cells[0]))
    told: dict[str, Any] = {"recipe": whole}
    for cell in cells:
        own = flatten(base_recipe(study, cell))
        told[cell.name] = {
            "differs": {path: value for path, value in own.items() if value != whole.get(path)},
            "lacks": sorted(whole.keys() - own.keys()),
            "space": {
                path: parameter.model_dump(mode="json", exclude_defaults=True)
                for path, parameter in sorted(space_of(study, cell).items())
            },
            "base": base_values(study, cell),
            "lengths": lengths_of(study, cell),
            "keep": keep_of(study, cell),
            "first": first_values(study, cell),
        }
    return told


@pytest.mark.parametrize("stem", STEMS)
def test_a_study_that_ships_resolves_to_what_is_written_down(stem: str) -> None:
    study, text = load_shipped(stem)
    assert study.study == stem
    for word in ("# Question:", "# Cost:", "# Expected:", "# Command:"):
        assert word in text, f"the header lacks {word}"
    told = json.dumps(resolved(study), indent=1, sort_keys=True) + "\n"
    golden = HERE / "golden" / f"{stem}.json"
    if os.environ.get("REWRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(told)
    assert golden.read_text() == told


@pytest.mark.parametrize("stem", STEMS)
def test_a_study_that_ships_runs_dry_to_its_last_replicate(stem: str) -> None:
    study, _ = load_shipped(stem)
    plan = plan_study(study, facts_of(study), slots=2, count_weights=shipped_weights)
    searches = study.budget.searches
    trials, replicates = study.budget.trials * searches, study.budget.replicates * searches
    assert {(cell.trials, cell.replicates >= replicates) for cell in plan.cells} == {(trials, True)}
    assert plan.jobs > plan.assets
    assert plan.disk_bytes


@pytest.mark.parametrize("stem", STEMS)
def test_a_study_that_ships_runs_published_values_or_repeats_its_search(stem: str) -> None:
    """Between them lies a search whose winner is luck: its claims would be about neither."""
    study, text = load_shipped(stem)
    if stem.endswith("_mini") or stem in ("quickstart", "shapes_demo", "bccd"):
        return
    assert "# Budget:" in text
    first = {len(first_values(study, cell)) for cell in cells_of(study)}
    is_published = first == {study.budget.trials} and study.budget.searches == 1
    assert is_published or study.budget.searches == 5


@pytest.mark.parametrize("stem", STEMS)
def test_a_study_that_ships_and_halves_its_trials_is_audited(stem: str) -> None:
    study, _ = load_shipped(stem)
    halves = any(len(set(keep_of(study, cell))) > 1 for cell in cells_of(study))
    has_time = stem != "quickstart"  # four minutes: an audit would take a third more
    assert bool(study.budget.audit) == (halves and has_time)


def shipped_weights(config: TrialConfig) -> int:
    """From the table of sizes, which must have every detector of every study that ships."""
    return read_shipped_sizes()[size_key(config.recipe.detector, config.num_categories)]


def test_he_2018_shares_780k_updates_of_the_1800k_that_2x_to_6x_are(tmp_path: Path) -> None:
    study, _ = load_study(find_study("he_2018"))
    told = "\n".join(islice(plan_lines(study, facts_of(study), 1, tmp_path), 8))
    assert "one ladder of 2x, 3x, 4x, 5x, 6x: 780,000 updates instead of 1,800,000 (full, 35k)" in (
        told
    )
    tried = "the recipe's own values; then optimizer.lr 0.04, schedule.decay.factor 0.02"
    assert f"tried first in every cell: {tried}" in told
    schedule = base_recipe(study, Cell("full", "scratch")).schedule
    assert [schedule.points(x) for x in schedule.lengths] == [(60_000, 20_000)] * 5
    assert (ladder_steps(schedule, [2, 6]), separate_steps(schedule, [2, 6])) == (600_000, 720_000)


def test_he_2018_selects_on_as_many_images_as_its_regime_is_large() -> None:
    study, _ = load_study(find_study("he_2018"))
    facts = facts_of(study)
    assert facts.regime_sizes["full"] == 112_654  # and 5 % of it, 5,633, make 118,287
    held_out = {"full": 5_633, "35k": 1_750, "10k": 500, "3.5k": 175, "1k": 50}
    assert facts.holdout_sizes == held_out
    paper, winner = first_values(study, Cell("35k", "scratch"))
    assert paper == {"optimizer.lr": 0.02, "schedule.decay.factor": 0.1}
    assert winner == {"optimizer.lr": 0.04, "schedule.decay.factor": 0.02}


def test_a_plan_without_the_data_says_how_they_must_lie() -> None:
    with pytest.raises(DataError, match=r"train2017/ and val2017/.*--set data.root=DIR"):
        load_study_input("he_2018", ["data.root=nowhere"])


def test_studies_leave_empty_images_out_where_their_papers_code_does() -> None:
    """Detectron and mmdetection do, TensorFlow's code does not."""
    leave_out = {stem for stem in STEMS if not load_shipped(stem)[0].data.keep_empty}
    assert leave_out == {stem for stem in STEMS if stem.startswith(("he_2018", "li_2021"))}


def test_lvis_counts_300_detections_and_voc_is_scored_by_its_devkits_metric() -> None:
    lvis, _ = load_study(find_study("vasconcelos_2022_lvis"))
    found = {base_recipe(lvis, cell).detector.detections for cell in cells_of(lvis)}
    assert found == {300}
    assert load_study(find_study("he_2018_voc"))[0].objective.metric == "voc_ap50"
