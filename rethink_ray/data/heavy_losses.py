"""Finds kinds of fault that cost a split many of its images or boxes, each kind by itself."""

from rethink_ray.data.fault_shares import measure_faults
from rethink_ray.data.splits import open_split
from rethink_ray.spec.fault_kinds import describe_kind
from rethink_ray.spec.met_faults import MetFault
from rethink_ray.spec.regime import HOLDOUTS, DataSpec

MANY_PERCENT = 10
"""A split that loses more percent than this to one kind of fault must be mended."""
LOST = ("were left out", "were dropped")
"""Fates of images and boxes that are neither trained on nor scored."""


def find_heavy_losses(data: DataSpec) -> list[str]:
    """Returns a sentence for each kind of fault that costs train or a scoring split many of its
    images or boxes.

    Raises:
        DataError: a split cannot be opened.
    """
    sentences = []
    for split in dict.fromkeys(("train", data.select_split, data.report_split)):
        index = open_split(data, split)
        shares = measure_faults(index, index.image_ids.tolist(), is_holdout=split in HOLDOUTS)
        for kind, share in shares.items():
            words = describe_kind(kind)
            is_lost = words.fate in LOST and words.learned is None
            if is_lost and 100 * share.count > MANY_PERCENT * share.total:
                met = MetFault(kind=kind, split=split, regime=None, share=share)
                sentences.append(met.sentence)
    return sentences
