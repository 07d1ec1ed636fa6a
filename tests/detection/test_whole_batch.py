"""What the losses of parts of a batch are divided by, worked out by pencil."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from tiny_detectors import mixed_pictures, mixed_targets, tiny
from torch import Tensor

from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.peers import Division
from rethink_ray.detection.whole_batch import LossSums, add_sums, sum_over_workers
from rethink_ray.spec.recipe import Family, InitSpec


@dataclass
class Others:
    """A group whose other workers have told their numbers in advance."""

    counts: Sequence[float] = ()
    world_size: int = 2
    rank: int = 0
    asked: list[str] = field(default_factory=list)

    def total(self, values: Tensor) -> Tensor:
        self.asked.append(f"total of {tuple(values.shape)}")
        if values.dtype == torch.int64:  # sizes of images; the other worker's are no larger
            return values
        return values + torch.tensor(self.counts, dtype=values.dtype)


def sums_of(loss: Tensor | float, count: int, at_least: int = 0) -> LossSums:
    division = Division(names=("loss",), count=torch.tensor(count), at_least=at_least)
    return LossSums.of({"loss": torch.as_tensor(loss)}, [division])


def alone(sums: LossSums) -> Tensor:
    return sums.divide(sums.denominators)["loss"]


def shared(loss: float, count: int, others: float, world_size: int, at_least: int = 0) -> float:
    """The loss of one of several workers, the others of which have counted ``others``."""
    sums = sums_of(loss, count, at_least)
    whole = sum_over_workers(sums.denominators, Others(counts=[others], world_size=world_size))
    return sums.divide(whole, world_size)["loss"].item()


def test_a_loss_is_divided_by_the_mean_count_of_the_workers() -> None:
    # a sum of 12 over 6 samples here; the other worker drew 2: 12 / ((6 + 2) / 2)
    assert shared(12 / 6, count=6, others=2, world_size=2) == 12 / 4


def test_the_mean_over_workers_is_the_loss_of_the_whole_batch() -> None:
    sums, counts = (12.0, 3.0), (6, 2)
    parts = [
        shared(total / count, count, others=sum(counts) - count, world_size=2)
        for total, count in zip(sums, counts, strict=True)
    ]
    assert sum(parts) / 2 == sum(sums) / sum(counts)


def test_one_foreground_point_among_four_workers_counts_whole() -> None:
    # the lone point's worker divides by max(1, 1) / 4, so that the mean over four is the sum
    assert shared(5.0, count=1, others=0, world_size=4, at_least=1) == 20.0
    assert shared(7.0, count=0, others=1, world_size=4, at_least=1) == 28.0
    assert shared(7.0, count=0, others=0, world_size=4, at_least=1) == 28.0


def test_a_mean_over_nothing_is_zero_and_has_a_gradient() -> None:
    weight = torch.ones(3, requires_grad=True)
    empty = (weight * torch.zeros(0, 3)).mean()
    assert math.isnan(empty.item())
    found = alone(sums_of(empty, 0))
    found.backward()
    assert found.item() == 0.0
    assert weight.grad is not None
    assert weight.grad.tolist() == [0.0] * 3
    assert shared(math.nan, count=0, others=3, world_size=2) == 0.0


def test_a_loss_that_is_no_number_over_something_stays_none() -> None:
    assert math.isnan(alone(sums_of(math.nan, 2)).item())


def test_parts_of_a_batch_add_up_to_the_loss_of_the_batch() -> None:
    # sums of 12 over 6 and of 3 over 2; a third part has nothing
    parts = [sums_of(12 / 6, 6), sums_of(3 / 2, 2), sums_of(math.nan, 0)]
    assert alone(add_sums(parts)).item() == 15 / 8


def test_a_divisor_of_at_least_one_is_taken_once_over_all_parts() -> None:
    # three parts without foreground: 2 + 3 + 4 over one, not over three
    parts = [sums_of(value, 0, at_least=1) for value in (2.0, 3.0, 4.0)]
    assert alone(add_sums(parts)).item() == 9.0
    assert alone(add_sums([*parts, sums_of(1.0, 3, at_least=1)])).item() == 12 / 3


@pytest.mark.parametrize(
    ("family", "num_losses"), [("retinanet", 2), ("fcos", 3), ("faster_rcnn", 4)]
)
def test_all_workers_ask_each_other_the_same_questions_whatever_they_hold(
    family: Family, num_losses: int
) -> None:
    detector = build_detector(tiny(family), InitSpec(), 3, seed=0)
    questions = []
    for boxes in (torch.tensor([[4.0, 4.0, 40.0, 40.0]]), torch.zeros(0, 4)):
        detector.peers = peers = Others(counts=[0.0] * num_losses)
        labels = torch.ones(len(boxes), dtype=torch.int64)
        target = {"boxes": boxes, "labels": labels, "image_id": torch.tensor(1)}
        losses = detector.losses([torch.full((3, 64, 64), 0.5)], [target], seed=0, step=0)
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        assert math.isfinite(total.item())
        assert all(p.grad is not None for p in detector.trainable_parameters())
        questions.append(peers.asked)
    assert questions[0] == questions[1]


@pytest.mark.parametrize("family", ["retinanet", "fcos"])
def test_one_stage_families_tell_what_they_divide_by_from_boxes_alone(family: Family) -> None:
    detector = build_detector(tiny(family, max_side_px=96), InitSpec(), 3, seed=0)
    images, targets = mixed_pictures(), mixed_targets()
    counted = detector.count_denominators(images, targets)
    expected = detector.loss_sums(images, targets, seed=0, step=0).denominators
    assert counted is not None
    assert counted.keys() == expected.keys()
    assert all(int(counted[name].count) == int(expected[name].count) > 0 for name in expected)


def test_a_two_stage_family_needs_its_proposals_for_that() -> None:
    detector = build_detector(tiny("faster_rcnn"), InitSpec(), 3, seed=0)
    assert detector.count_denominators(mixed_pictures(), mixed_targets()) is None
