"""The images one trial sees: its regime to train on, its splits to be scored on."""

from collections.abc import Mapping
from dataclasses import dataclass

from rethink_ray.data.faults import faults_of
from rethink_ray.data.index import AnnotationIndex, open_split
from rethink_ray.data.loader import TrainBatches, train_batches
from rethink_ray.data.regimes import digest_of_images, regime_image_ids
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.place import Place
from rethink_ray.training.seeding import derive_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialData:
    """The regime's training images of one trial."""

    config: TrialConfig
    index: AnnotationIndex
    image_ids: tuple[int, ...]
    faults: Mapping[str, int]

    def batches(self, start_step: int, place: Place) -> TrainBatches:
        """This worker's share of every batch from ``start_step`` on."""
        recipe = self.config.recipe
        return train_batches(
            self.index,
            self.image_ids,
            recipe.augment,
            recipe.detector,
            recipe.batch_size,
            derive_seed(self.config.seed, "data"),
            start_step=start_step,
            num_workers=self.config.resources.loader_workers,
            rank=place.rank,
            world_size=place.world_size,
            pinned=place.device.type == "cuda",
        )


def open_trial_data(config: TrialConfig) -> TrialData:
    """The training images, checked to be those the trial was resolved for.

    Raises:
        DataError: the data set holds other images or categories now.
    """
    index = open_split(config.data, "train")
    image_ids = regime_image_ids(config.data, config.images)
    remedy = "Put the data set back as it was, or start a new study."
    digest = digest_of_images(image_ids)
    if digest != config.regime_digest:
        must = f"must hold the images it was resolved with (digest {config.regime_digest})"
        raise DataError(explain(f"regime {config.regime}", must, digest, remedy))
    if len(index.categories) != config.num_categories:
        must = f"must have {config.num_categories} categories"
        raise DataError(explain(f"regime {config.regime}", must, len(index.categories), remedy))
    return TrialData(
        config=config, index=index, image_ids=image_ids, faults=faults_of(index, image_ids)
    )
