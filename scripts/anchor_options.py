"""The options of ``anchor.py``, checked before anything is read, downloaded or trained."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from rethink_ray.spec.errors import DataError, explain


def require_coco(root: Path, split: str, kind: str = "instances") -> None:
    """Raises ``DataError`` if the pictures or annotations of a split are not in COCO's folder."""
    for path in (root / f"{split}2017", root / "annotations" / f"{kind}_{split}2017.json"):
        if not path.exists():
            must = f"must be COCO's folder, with {path.relative_to(root)}"
            raise DataError(explain(f"--root {root}", must, "no such file"))


def parse_count(text: str) -> int:
    """Returns a number of images; argparse refuses others than 1, 2, 3, ..."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 image, but got {text}")
    return int(text)


def parse_device(text: str) -> torch.device:
    """Returns a device of PyTorch; argparse refuses a name that PyTorch does not know."""
    try:
        return torch.device(text)
    except RuntimeError:
        must = "must be a device such as cpu, cuda or cuda:1"
        raise argparse.ArgumentTypeError(f"{must}, but got {text}") from None


def read_arguments(
    options: Sequence[str] | None, names: Sequence[str], description: str | None
) -> argparse.Namespace:
    """Returns the options of the command line; refuses what cannot work before anything runs.

    Args:
        options: of the command line; ``None`` takes the process's own.
        names: the detectors that ``--only`` may name.
        description: heads the help.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter)
    parser.add_argument("--root", type=Path, required=True, help="COCO's folder")
    parser.add_argument("--weights", type=Path, help="folder with torchvision's files of weights")
    only = "score these detectors; none of them beside --train: train, and score nothing"
    parser.add_argument(
        "--only", nargs="*", choices=names, default=names, metavar="DETECTOR", help=only
    )
    limit = "score the first N images, without a verdict"
    parser.add_argument("--limit", type=parse_count, metavar="N", help=limit)
    parser.add_argument("--device", type=parse_device, help="cuda if there is one, else cpu")
    parser.add_argument("--loader-workers", type=int, default=2, help="processes that read images")
    parser.add_argument("--train", action="store_true", help="train Faster R-CNN for 1x as well")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs of the training; 0: on a CPU")
    parser.add_argument("--out", type=Path, default=Path("anchor"), help="folder of the training")
    parser.add_argument("--json", type=Path, help="write the table to this file, too")
    arguments = parser.parse_args(options)
    if arguments.train and arguments.limit:
        parser.error("--train must run in full, but got --limit. Leave one of them out.")
    if not arguments.only and not arguments.train:
        parser.error("--only must name a detector, but got none. Leave it out to score all.")
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json must be in a folder that exists, but got {arguments.json}.")
    try:
        for split in ("val", "train") if arguments.train else ():
            require_coco(arguments.root, split)
    except DataError as error:
        parser.error(str(error))
    default = "cuda" if torch.cuda.is_available() else "cpu"
    arguments.device = arguments.device or torch.device(default)
    return arguments
