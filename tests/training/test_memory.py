"""What a process may take of a GPU that it shares, and what it keeps of a CPU's memory."""

import platform
import resource

import pytest
import torch

from rethink_ray.spec.errors import SpecError
from rethink_ray.training.memory import keep_freed_memory, share_for_tensors


@pytest.mark.parametrize(
    ("gpus", "gigabytes", "for_tensors"),
    [(1.0, 16, 16.0), (0.5, 16, 7.3), (0.25, 16, 3.3), (0.125, 80, 9.3)],
)
def test_each_process_leaves_room_for_cuda_itself(
    gpus: float, gigabytes: int, for_tensors: float
) -> None:
    share = share_for_tensors(gpus, gigabytes * 10**9)
    assert share * gigabytes == pytest.approx(for_tensors)
    processes = round(1 / gpus)
    if processes > 1:
        assert processes * (for_tensors + 0.7) == pytest.approx(gigabytes)


def test_a_part_that_cuda_fills_by_itself_is_refused() -> None:
    with pytest.raises(SpecError, match=r"gpus_per_worker.*0\.7 GB.*0\.05 of a GPU of 8\.0 GB"):
        share_for_tensors(0.05, 8 * 10**9)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_memory_that_was_freed_is_used_again_without_new_pages() -> None:
    """64 MiB in pieces of 1 MiB are 16,384 pages of 4 KiB."""
    keep_freed_memory()

    def fill() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        pieces = [torch.ones(2**18) for _ in range(64)]
        assert len(pieces) == 64
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    fill()
    assert fill() < 16_384 // 8
