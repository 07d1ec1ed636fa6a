import numpy as np
import torch

from rethink_ray.data.index import ImageEntry
from rethink_ray.training.evaluate import _drop_unverified


def _entry(verified: tuple[int, ...] | None) -> ImageEntry:
    return ImageEntry(
        image_id=1,
        path="",
        width=9,
        height=9,
        boxes_xyxy=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        is_crowd=np.zeros(0, np.bool_),
        area=np.zeros(0, np.float32),
        has_mask=np.zeros(0, np.bool_),
        verified=verified,
    )


def test_nothing_is_held_against_categories_that_nobody_looked_for() -> None:
    found = {"labels": torch.tensor([3, 1, 3, 2]), "scores": torch.tensor([0.9, 0.8, 0.7, 0.6])}
    kept = _drop_unverified(found, _entry((2, 3)))
    assert kept["labels"].tolist() == [3, 3, 2]
    assert kept["scores"].tolist() == torch.tensor([0.9, 0.7, 0.6]).tolist()
    assert _drop_unverified(found, _entry(())).keys() == found.keys()
    assert len(_drop_unverified(found, _entry(()))["labels"]) == 0
    assert _drop_unverified(found, _entry(None)) is found
