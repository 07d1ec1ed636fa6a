"""Scores torchvision's published detectors by this program, and compares with their published AP.

    python scripts/anchor.py --root COCO --json anchor.json     # all of them, on val2017
    python scripts/anchor.py --root COCO --limit 50             # a trial run, without a verdict
    python scripts/anchor.py --root COCO --train --gpus 8       # trains Faster R-CNN for 1x, too

Data, loader and scorer are this program's. The network is first torchvision's own with its own
resize, one image at a time: it must reach the published AP. Then it gets our antialiased resize,
and last our network gets the same weights, as an arm of a study would: our resize, our pasting of
masks, epsilon 1e-5 in frozen norms. Weights come from torch's hub cache, from a download, or from
``--weights DIR``. Exit code 1 if an AP is outside its tolerance, or if nothing ran.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torchvision
from published_detectors import ANCHORS, Anchor, detect_images, list_ways
from torch import Tensor

from rethink_ray.data.index import open_split
from rethink_ray.detection.tensor_files import read_state_dict
from rethink_ray.session import load_study_input
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.recipe import WITH_KEYPOINTS
from rethink_ray.spec.regime import DataSpec, SplitSpec
from rethink_ray.spec.resolve import CellResolver, cells_of
from rethink_ray.training.run import train_config

COLUMNS = {
    "torchvision": "torchvision's resize",
    "our_resize": "our resize",
    "our_network": "our network",
}
TOLERANCE = 0.1
ONE_X = Path(__file__).with_name("anchor_1x.yaml")
ONE_X_AP, ONE_X_TOLERANCE = 37.4, 0.5
"""Source: mmdetection, configs/faster_rcnn/metafile.yml (faster_rcnn_r50_fpn_1x_coco)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one detector."""

    detector: str
    metric: str
    published: float
    tolerance: float
    ap: Mapping[str, float]
    """Key of ``COLUMNS`` -> AP; the first one is compared with the published AP."""
    images_per_second: float

    @property
    def difference(self) -> float:
        """Measured minus published AP, in points."""
        return next(iter(self.ap.values())) - self.published

    @property
    def is_within(self) -> bool:
        """Whether the difference is at most the tolerance; one that is no number is not."""
        return abs(self.difference) <= self.tolerance + 1e-9


class Skipped(Exception):
    """A detector cannot be scored here; the message says what is missing."""


def load_weights(anchor: Anchor, folder: Path | None) -> Mapping[str, Tensor]:
    """Returns the state dict of published weights, from a folder or by torchvision's download."""
    if folder is not None:
        path = folder / anchor.file
        if not path.is_file():
            raise Skipped(f"{anchor.file} is not in {folder}")
        return read_state_dict(path, str(path))
    try:
        state: Mapping[str, Tensor] = anchor.weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Skipped(
            f"{anchor.file} cannot be downloaded ({reason}); give its folder with --weights"
        ) from error
    return state


def score_anchor(anchor: Anchor, given: argparse.Namespace) -> list[Row]:
    """Returns a row for each published metric of a detector."""
    state = load_weights(anchor, given.weights)
    kind = "person_keypoints" if anchor.family in WITH_KEYPOINTS else "instances"
    split = SplitSpec(images="val2017", annotations=f"annotations/{kind}_val2017.json")
    data = DataSpec(dataset={"train": split, "val": split}, root=str(given.root), format="coco")
    index = open_split(data, "val")
    ways = list_ways(anchor, state, index, given.device)
    splits, images_per_second = detect_images(
        ways, index, anchor.family, given.device, given.limit, given.loader_workers
    )
    metrics = {way: detected.metrics(data) for way, detected in splits.items()}
    return [
        Row(
            detector=anchor.name,
            metric=metric,
            published=published,
            tolerance=TOLERANCE,
            ap={way: values[metric] for way, values in metrics.items()},
            images_per_second=images_per_second,
        )
        for metric, published in anchor.published.items()
    ]


def train_one_x(file: Path, given: argparse.Namespace) -> Row:
    """Trains the one run of a study in the folder ``--out``; a stopped one goes on from there."""
    workers = given.gpus if given.gpus > 1 else 0
    machine = [f"resources.workers={workers}", f"resources.gpus_per_worker={min(given.gpus, 1)}"]
    loaded = load_study_input(str(file), [f"data.root={given.root}", *machine])
    (cell,) = cells_of(loaded.study)
    config = CellResolver(loaded.study, cell, loaded.facts).resolve({}, seed=0)
    if workers:
        from rethink_ray.cluster.single import train_on_workers  # imports Ray

        rungs = train_on_workers(config, given.out, workers, on_rung=lambda rung: None)
    else:
        rungs = train_config(config, given.out)
    images = config.recipe.batch_size * config.recipe.schedule.steps(rungs[-1].length)
    return Row(
        detector=f"{config.recipe.detector.family}, trained here",
        metric="ap",
        published=ONE_X_AP,
        tolerance=ONE_X_TOLERANCE,
        ap={"our_network": rungs[-1].metrics[f"{config.data.report_on}/ap"]},
        images_per_second=images / rungs[-1].seconds_train,
    )


def list_header_lines() -> list[str]:
    """Returns the first two lines of a Markdown table."""
    theirs, ours, network = COLUMNS.values()
    names = ["detector", "metric", "published", theirs, "difference"]
    names += [ours, "our resize makes", network, "images/s", "verdict"]
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def format_row(row: Row, *, judged: bool) -> str:
    """Returns the line of a row; a row that is not judged has no verdict."""
    theirs, ours, network = (f"{row.ap[way]:.2f}" if way in row.ap else "-" for way in COLUMNS)
    both = {"torchvision", "our_resize"} <= row.ap.keys()
    effect = f"{row.ap['our_resize'] - row.ap['torchvision']:+.2f}" if both else "-"
    verdict = f"{'within' if row.is_within else 'NOT within'} {row.tolerance:g}" if judged else "-"
    cells = [row.detector, row.metric, f"{row.published:.1f}", theirs, f"{row.difference:+.2f}"]
    cells += [ours, effect, network, f"{row.images_per_second:.3g}", verdict]
    return f"| {' | '.join(cells)} |"


def write_json(
    path: Path, rows: Sequence[Row], skipped: Mapping[str, str], given: argparse.Namespace
) -> None:
    """Writes rows, reasons and versions; an AP that is no number is null."""
    content = {
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "device": str(given.device),
        "limit": given.limit,
        "rows": [
            asdict(row)
            | {"ap": {way: None if math.isnan(ap) else ap for way, ap in row.ap.items()}}
            | {"is_within": None if given.limit else row.is_within}
            for row in rows
        ],
        "skipped": skipped,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def read_arguments(arguments: Sequence[str] | None, names: Sequence[str]) -> argparse.Namespace:
    """Returns the options of the command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--root", type=Path, required=True, help="COCO's folder")
    parser.add_argument("--weights", type=Path, help="folder with torchvision's files of weights")
    parser.add_argument("--only", nargs="*", choices=names, default=names, metavar="DETECTOR")
    parser.add_argument("--limit", type=int, help="score so many images, without a verdict")
    parser.add_argument("--device", type=torch.device, help="cuda if there is one, else cpu")
    parser.add_argument("--loader-workers", type=int, default=2, help="processes that read images")
    parser.add_argument("--train", action="store_true", help="train Faster R-CNN for 1x as well")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs of the training; 0: on a CPU")
    parser.add_argument("--out", type=Path, default=Path("anchor"), help="folder of the training")
    parser.add_argument("--json", type=Path, help="write the table to this file, too")
    given = parser.parse_args(arguments)
    if given.train and given.limit:
        parser.error("--train must run in full, but got --limit. Leave one of them out.")
    given.device = given.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return given


def main(
    arguments: Sequence[str] | None = None,
    anchors: Sequence[Anchor] = ANCHORS,
    study: Path = ONE_X,
) -> int:
    """Prints each row once it is known; returns 1 if one is outside its tolerance or none ran."""
    given = read_arguments(arguments, [anchor.name for anchor in anchors])
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    print(*list_header_lines(), sep="\n")
    for anchor in (anchor for anchor in anchors if anchor.name in given.only):
        try:
            new_rows = score_anchor(anchor, given)
        except (Skipped, DataError) as error:
            skipped[anchor.name] = str(error)
            continue
        rows += new_rows
        print(*(format_row(row, judged=not given.limit) for row in new_rows), sep="\n", flush=True)
    if given.train:
        rows.append(train_one_x(study, given))
        print(format_row(rows[-1], judged=True))
    for name, reason in skipped.items():
        print(f"skipped {name}: {reason}")
    if given.json:
        write_json(given.json, rows, skipped, given)
    is_good = bool(rows) and (bool(given.limit) or all(row.is_within for row in rows))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
