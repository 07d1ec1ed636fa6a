import torch

from rethink_ray.detection.detectors import build_detector
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.recipes import build_recipe


def test_images_that_the_loader_sized_are_trained_on_as_they_are() -> None:
    recipe = build_recipe("tiny_retinanet")  # 96 px
    detector = build_detector(recipe.detector, InitSpec(), 3, seed=0).train()
    image = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0))
    target = {
        "boxes": torch.tensor([[4.0, 4.0, 20.0, 24.0]]),
        "labels": torch.tensor([2]),
        "image_id": torch.tensor(1),
    }
    seen: list[torch.Size] = []
    detector.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    for given in (False, True):
        detector.sized_by_loader = given
        detector.losses([image], [target], seed=0, step=0)
    assert [shape[-2:] for shape in seen] == [(64, 96), (32, 64)]  # 48 is padded
    detector.detect([image])
    assert seen[-1][-2:] == (64, 96)  # scoring sizes its images itself
