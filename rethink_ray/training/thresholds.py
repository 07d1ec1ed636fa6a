"""The threshold of each class in a model's card: chosen on the split that its study selects on."""

from rethink_ray.detection.kept_detections import table_of
from rethink_ray.detection.score_thresholds import choose_thresholds
from rethink_ray.spec.card import ModelCard
from rethink_ray.training.model_files import TrainedModel
from rethink_ray.training.run import detect_again


def add_thresholds(model: TrainedModel, card: ModelCard) -> ModelCard:
    """The card with a score threshold for each class; detects in the whole selection split.

    Raises:
        DataError: the data set is gone.
    """
    split = model.config.data.select_split
    scored = detect_again(model, split)
    table = table_of(scored.truths, scored.seen, scored.num_categories)
    chosen = choose_thresholds(table, scored.num_categories)
    thresholds = dict(zip(card.classes, chosen, strict=True))
    return card.model_copy(update={"score_thresholds": thresholds, "thresholds_from": split})
