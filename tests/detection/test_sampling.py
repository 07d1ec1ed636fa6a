"""What one image contributes to a loss depends on nothing but seed, step and its id."""

import torch
from torch import Tensor

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.families import samplers
from rethink_ray.detection.sampling import BalancedSampler, SamplePosition
from rethink_ray.spec.recipe import DetectorSpec, InitSpec


def drawn(image_ids: tuple[int, ...], seed: int = 0, step: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Masks per image for 30 positives, 60 negatives and 10 ignored places in each."""
    labels = torch.cat([torch.ones(30), torch.zeros(60), -torch.ones(10)])
    sampler = BalancedSampler("rpn", 40, 0.5)
    sampler.position = SamplePosition(seed=seed, step=step, image_ids=image_ids)
    return list(zip(*sampler([labels for _ in image_ids]), strict=True))


def same(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_half_are_positives_and_ignored_places_are_never_drawn() -> None:
    [(positive, negative)] = drawn((7,))

    assert int(positive.sum()) == 20
    assert int(negative.sum()) == 20
    assert int(positive[30:].sum()) == 0
    assert int(negative[:30].sum() + negative[90:].sum()) == 0


def test_missing_positives_are_made_up_for_by_negatives() -> None:
    sampler = BalancedSampler("box", 40, 0.25)
    sampler.position = SamplePosition(seed=0, step=0, image_ids=(1,))

    positive, negative = sampler([torch.cat([torch.ones(3), torch.zeros(60)])])

    assert (int(positive[0].sum()), int(negative[0].sum())) == (3, 37)


def test_an_image_draws_the_same_alone_and_in_any_batch() -> None:
    [alone] = drawn((7,))

    assert same(drawn((3, 7, 9))[1], alone)
    assert same(drawn((7, 3))[0], alone)


def test_seed_step_image_and_purpose_each_change_the_draw() -> None:
    [here] = drawn((7,))

    assert not same(drawn((7,), seed=1)[0], here)
    assert not same(drawn((7,), step=1)[0], here)
    assert not same(drawn((8,))[0], here)


def faster_rcnn() -> Detector:
    spec = DetectorSpec(
        family="faster_rcnn",
        backbone="tiny",
        width=16,
        neck_channels=16,
        head_convs=1,
        box_head_features=32,
        min_side_px=64,
        max_side_px=64,
        anchor_base_px=16,
        rpn_batch=16,
        box_batch=8,
        rpn_pre_nms=50,
        rpn_post_nms=20,
    )
    return build_detector(spec, InitSpec(), 3, seed=0)


def test_gradients_of_two_halves_average_to_the_gradient_of_the_whole_batch() -> None:
    """Two workers with half a batch each take the step that one worker takes.

    Both box losses divide by the number sampled, which is the same in every image here.
    """
    detector = faster_rcnn()
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, 64, 64, generator=generator) for _ in range(4)]
    targets = [
        {
            "boxes": torch.tensor([[4.0 + i, 4.0, 30.0, 30.0]]),
            "labels": torch.tensor([1 + i % 3]),
            "image_id": torch.tensor(100 + i),
        }
        for i in range(4)
    ]

    def gradient(part: slice) -> Tensor:
        detector.zero_grad()
        losses = detector.losses(images[part], targets[part], seed=3, step=11)
        torch.stack(list(losses.values())).sum().backward()
        grads = [p.grad for p in detector.trainable_parameters() if p.grad is not None]
        return torch.cat([g.flatten() for g in grads])

    whole = gradient(slice(0, 4))
    halves = (gradient(slice(0, 2)) + gradient(slice(2, 4))) / 2

    assert float((whole - halves).norm() / whole.norm()) < 1e-5
    assert len(samplers(detector.network)) == 2
