"""What workers exchange in an update: gradients and counts, neither buffers nor sizes of images."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe, micro_trial
from tests.training.groups import in_a_group
from tests.training.runs import climb, digests

CPU = torch.device("cpu")
LENGTHS = (2.0, 3.0)


class ByPyTorchsDefaults(WorkerContext):
    """Buffers are those of rank 0 in each update, and nothing is known of the graph."""

    def wrap(self, losses: nn.Module, *, is_static: bool = False) -> nn.Module:
        return DistributedDataParallel(losses)


class RefusesSizes(WorkerContext):
    """Counts of losses are float64; sizes of images were int64."""

    def total(self, values: Tensor) -> Tensor:
        assert values.dtype != torch.int64, "workers know the sizes of each other's images"
        return super().total(values)


def climb_twice(folder: Path, rank: int, config: TrialConfig) -> list[list[str]]:
    bits = []
    for kind in (RefusesSizes, ByPyTorchsDefaults):
        ctx = kind(device=CPU, rank=rank, world_size=2)
        climb(config, folder / kind.__name__, LENGTHS, ctx=ctx)
        bits.append(digests(folder / kind.__name__, LENGTHS))
    return bits


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "norm", "batch_size"),
    [
        ("tiny_faster_rcnn", "bn", 4),  # statistics differ between workers until a file is written
        ("tiny_cascade_mask_rcnn", "sync_bn", 4),
        ("tiny_retinanet", "gn", 2),  # a padding group of two images has one of each worker
    ],
)
def test_exchanging_less_changes_no_bit(
    tmp_path: Path, name: str, norm: str, batch_size: int
) -> None:
    recipe = micro_recipe(
        name,
        batch_size=batch_size,
        detector__norm=norm,
        augment__short_side_px=[40, 60],
    )
    of_ranks = in_a_group(climb_twice, tmp_path, 2, micro_trial(recipe, workers=2))
    [[ours, by_defaults], _] = of_ranks
    assert ours == by_defaults
