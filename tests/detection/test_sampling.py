"""What one image contributes to a loss depends on nothing but seed, step and its id."""

import pytest
import torch
from torch import Tensor

from rethink_ray.detection import sampling
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.families import list_samplers
from rethink_ray.detection.sampling import BalancedSampler, SamplePosition, candidate_keys
from rethink_ray.spec.recipe import DetectorSpec, InitSpec

GOLDEN_KEYS = [
    [440468862, 318013338, 944470648, 196982780],
    [1064142147, 316716272, 122476819, 636026677],
]


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.int64, torch.bfloat16])
def test_labels_of_any_type_draw_the_same(dtype: torch.dtype) -> None:
    labels = torch.cat([torch.ones(30), torch.zeros(60), -torch.ones(10)])
    sampler = BalancedSampler("rpn", 40, 0.5)
    sampler.position = SamplePosition(seed=0, step=0, image_ids=(7,))

    [positive], [negative] = sampler([labels.to(dtype)])

    assert same((positive, negative), drawn((7,))[0])
    assert positive.dtype == negative.dtype == torch.uint8
    assert int(sampler.num_drawn) == 40


def test_images_with_few_places_draw_the_same_beside_images_with_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = torch.cat([torch.ones(2), torch.zeros(9)])
    many = torch.cat([torch.zeros(400), torch.ones(50), -torch.ones(50)])

    def drawn_from(images: dict[int, Tensor]) -> dict[int, tuple[Tensor, Tensor]]:
        sampler = BalancedSampler("box", 20, 0.25)
        sampler.position = SamplePosition(seed=3, step=4, image_ids=tuple(images))
        pairs = zip(*sampler(list(images.values())), strict=True)
        assert int(sampler.num_drawn) == sum(min(20, len(labels)) for labels in images.values())
        return dict(zip(images, pairs, strict=True))

    together = drawn_from({1: few, 2: many, 3: few})
    alone = {i: drawn_from({i: labels})[i] for i, labels in ((1, few), (2, many), (3, few))}
    monkeypatch.setattr(sampling, "CANDIDATES_AT_ONCE", 600)
    in_turn = drawn_from({1: few, 2: many, 3: few})

    for found in (together, in_turn):
        assert all(same(found[i], alone[i]) for i in alone)
    assert (int(alone[1][0].sum()), int(alone[1][1].sum())) == (2, 9)
    assert (int(alone[2][0].sum()), int(alone[2][1].sum())) == (5, 15)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0] * 30, (0, 8)),
        ([1] * 30, (4, 0)),
        ([-1] * 30, (0, 0)),
        ([1, 0, -1], (1, 1)),
        ([], (0, 0)),
    ],
)
def test_what_there_is_is_drawn_up_to_the_number_wanted(
    labels: list[int], expected: tuple[int, int]
) -> None:
    sampler = BalancedSampler("rpn", 8, 0.5)
    sampler.position = SamplePosition(seed=0, step=0, image_ids=(1,))
    given = torch.tensor(labels, dtype=torch.float32)

    [positive], [negative] = sampler([given])

    assert (int(positive.sum()), int(negative.sum())) == expected
    assert positive.shape == negative.shape == given.shape
    assert torch.equal(given[positive.bool()], torch.ones(expected[0]))
    assert torch.equal(given[negative.bool()], torch.zeros(expected[1]))


def keys_of(*images: tuple[int, int], num_candidates: int = 300) -> Tensor:
    """Keys of (step, image id) pairs, as a sampler mixes them."""
    sampler = BalancedSampler("rpn", 256, 0.5)
    words = []
    for step, image_id in images:
        sampler.position = SamplePosition(seed=0, step=step, image_ids=(image_id,))
        words.append(sampler._words(image_id))
    return candidate_keys(words, num_candidates, torch.device("cpu"))


def test_no_two_places_of_an_image_have_the_same_key() -> None:
    [keys] = keys_of((0, 1), num_candidates=267_000)

    assert len(keys.unique()) == 267_000
    assert 0 <= int(keys.min()) < int(keys.max()) <= sampling.KEY_MASK


def test_every_place_is_drawn_equally_often_and_apart_from_its_neighbours() -> None:
    """2,000 draws of 30 of 300 places: 200 expected at each; chi-square of 299, sd 24.5.

    A pair of neighbours is expected in 30 * 29 / (300 * 299) of the draws, 19.4 times.
    """
    images = [(step, image_id) for step in range(40) for image_id in range(50)]
    smallest = keys_of(*images).topk(30, dim=1, largest=False).indices
    chosen = torch.zeros(2000, 300).scatter_(1, smallest, 1.0)

    counts = chosen.sum(dim=0)
    neighbours = (chosen[:, 1:] * chosen[:, :-1]).sum(dim=0)

    # drawing without replacement narrows the spread by 1 - 30 / 300
    chi_square = float(((counts - 200) ** 2 / (200 * 0.9)).sum())
    assert 299 - 5 * 24.5 < chi_square < 299 + 5 * 24.5
    assert float(neighbours.mean()) == pytest.approx(19.4, abs=1.3)  # 5 sd of the mean


def test_what_one_image_draws_says_nothing_about_another_step_or_image() -> None:
    """Two draws of 30 of 300 share 3 places on average, sd 1.56 (hypergeometric)."""
    images = [(step, image_id) for step in range(40) for image_id in range(50)]
    smallest = keys_of(*images).topk(30, dim=1, largest=False).indices
    chosen = torch.zeros(2000, 300).scatter_(1, smallest, 1.0)

    for lag in (1, 50):  # the next image of a step, the next step of an image
        shared = (chosen[lag:] * chosen[:-lag]).sum(dim=1)
        assert float(shared.mean()) == pytest.approx(3.0, abs=5 * 1.56 / 2000**0.5)
        assert float(shared.std()) == pytest.approx(1.56, rel=0.1)


def test_the_chi_square_sees_a_planted_fault() -> None:
    """Keys that only shift with the image draw neighbours together."""
    smallest = (torch.arange(300) + torch.arange(2000)[:, None]) % 300
    chosen = (smallest < 30).float()

    assert float((chosen[:, 1:] * chosen[:, :-1]).sum(dim=0).mean()) > 150


def test_the_draw_is_the_same_on_every_machine_and_version() -> None:
    """Integers throughout: these are the numbers that any CPU or GPU must find."""
    assert candidate_keys([(1, 2), (3, 4)], 4, torch.device("cpu")).tolist() == GOLDEN_KEYS


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
        rpn_pre_nms_train=50,
        rpn_post_nms_train=20,
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
    assert len(list_samplers(detector.network)) == 2
