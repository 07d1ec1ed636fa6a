"""How often a run sees the labelled images of its regime."""

from rethink_ray.spec.batches import count_passes
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.settings import with_settings


def test_of_a_students_batch_only_images_with_human_labels_are_passes() -> None:
    alone = with_settings(build_recipe("tiny_retinanet"), {"batch_size": 8}, "test")
    student = with_settings(alone, {"labels.kind": "self_training", "labels.share": 0.25}, "test")
    assert count_passes(alone, updates=100, num_images=40) == 20.0
    assert count_passes(student, updates=100, num_images=40) == 15.0
    assert count_passes(alone, updates=100, num_images=0) == 0.0
