from torch import nn

from rethink_ray.data.regimes import open_scored
from rethink_ray.data.splits import open_split
from rethink_ray.detection.detectors import build_detector
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, ShapesSpec
from rethink_ray.training.evaluate import detect_split
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_trial

SHARED = DataSpec(
    dataset="shapes",
    shapes=ShapesSpec(train=180, val=2, test=4, image_px=48),
    select_on=HoldoutSpec(holdout="20%"),
)


def test_a_run_selects_on_its_own_regimes_share_of_the_hold_out() -> None:
    """Of 180 images 30 are held out: 20 % of all other 150. A regime of 110 selects on 22."""
    config = micro_trial(data=SHARED, images=110)
    detector = build_detector(config.recipe.detector, InitSpec(), config.num_categories, seed=0)
    ctx = WorkerContext.alone(1, 0.0, False)
    scored = [truth.image_id for truth in detect_split(detector, config, "holdout", ctx).truths]
    assert scored == open_scored(SHARED, "holdout", 110).image_ids.tolist()
    assert (len(scored), len(open_split(SHARED, "holdout"))) == (22, 30)
    counted = config.model_copy(update={"num_images": None})
    assert len(detect_split(detector, counted, "holdout", ctx).truths) == 22


class ModeLog(nn.Module):
    """Remembers every change of its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def train(self, mode: bool = True) -> "ModeLog":
        self.modes.append(mode)
        return super().train(mode)


def test_scoring_a_split_changes_the_mode_of_the_network_twice_whatever_its_batches() -> None:
    """22 images in batches of 2 are eleven batches."""
    config = micro_trial(data=SHARED, images=110)
    assert config.recipe.batch_size == 2
    detector = build_detector(config.recipe.detector, InitSpec(), config.num_categories, seed=0)
    detector.add_module("mode_log", log := ModeLog())
    ctx = WorkerContext.alone(1, 0.0, False)
    detect_split(detector, config, "holdout", ctx)
    assert log.modes == [False, True]
    detect_split(detector.eval(), config, "holdout", ctx)
    assert log.modes == [False, True, False]
    assert not detector.training
