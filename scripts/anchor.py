"""Scores torchvision's published detectors by this program, and compares with their published AP.

    python scripts/anchor.py --root COCO --json anchor.json     # all of them, on val2017
    python scripts/anchor.py --root COCO --limit 50             # a trial run, without a verdict
    python scripts/anchor.py --root COCO --train --gpus 8       # trains Faster R-CNN for 1x, too

Data, loader and scorer are this program's. A row has three columns of AP:

1. torchvision's network with its own resize, one image at a time: it must reach the published AP;
2. the same network with our antialiased resize;
3. our network with the same weights, as an arm of a study has it: our resize, our pasting of masks,
   epsilon 1e-5 in frozen norms.

Weights come from torch's hub cache, from a download, or from ``--weights DIR``. Exit code 1 if an
AP is outside its tolerance, or if something was skipped.
"""

import argparse
import json
import math
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torchvision
from anchor_options import read_arguments, require_coco
from published_detectors import ANCHORS, Anchor, detect_images, list_pipelines
from torch import Tensor

from rethink_ray.data.splits import open_split
from rethink_ray.detection.tensor_files import read_state_dict
from rethink_ray.session import load_study_input
from rethink_ray.spec.errors import RethinkError, SpecError
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


class MissingWeights(Exception):
    """A detector has no weights here that can be loaded; the message names the file."""


def load_weights(anchor: Anchor, folder: Path | None) -> Mapping[str, Tensor]:
    """Returns the state dict of published weights, from a folder or by torchvision's download."""
    if folder is not None:
        path = folder / anchor.file
        if not path.is_file():
            raise MissingWeights(f"{anchor.file} is not in {folder}")
        try:
            return read_state_dict(path, str(path))
        except SpecError as error:
            raise MissingWeights(str(error)) from error
    try:
        state: Mapping[str, Tensor] = anchor.weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingWeights(
            f"{anchor.file} cannot be downloaded or read ({reason}); give its folder with --weights"
        ) from error
    return state


def score_anchor(anchor: Anchor, arguments: argparse.Namespace) -> list[Row]:
    """Returns a row for each published metric of a detector."""
    kind = "person_keypoints" if anchor.family in WITH_KEYPOINTS else "instances"
    require_coco(arguments.root, "val", kind)
    state = load_weights(anchor, arguments.weights)
    split = SplitSpec(images="val2017", annotations=f"annotations/{kind}_val2017.json")
    data = DataSpec(dataset={"train": split, "val": split}, root=str(arguments.root), format="coco")
    index = open_split(data, "val")
    try:
        pipelines = list_pipelines(anchor, state, index, arguments.device)
    except (SpecError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise MissingWeights(f"{anchor.file} does not fit the network ({reason})") from error
    splits, images_per_second = detect_images(
        pipelines, index, anchor.family, arguments.device, arguments.limit, arguments.loader_workers
    )
    metrics = {column: detected.metrics(data) for column, detected in splits.items()}
    return [
        Row(
            detector=anchor.name,
            metric=metric,
            published=published,
            tolerance=TOLERANCE,
            ap={column: values[metric] for column, values in metrics.items()},
            images_per_second=images_per_second,
        )
        for metric, published in anchor.published.items()
    ]


def train_one_x(file: Path, arguments: argparse.Namespace) -> list[Row]:
    """Trains the one run of a study in the folder ``--out``; a stopped one goes on from there."""
    workers = arguments.gpus if arguments.gpus > 1 else 0
    machine = [
        f"resources.workers={workers}",
        f"resources.gpus_per_worker={min(arguments.gpus, 1)}",
    ]
    loaded = load_study_input(str(file), [f"data.root={arguments.root}", *machine])
    (cell,) = cells_of(loaded.study)
    config = CellResolver(loaded.study, cell, loaded.facts).resolve({}, seed=0)
    if workers:
        from rethink_ray.cluster.single import train_on_workers  # imports Ray

        rungs = train_on_workers(config, arguments.out, workers, on_rung=lambda rung: None)
    else:
        rungs = train_config(config, arguments.out)
    images = config.recipe.batch_size * config.recipe.schedule.steps(rungs[-1].length)
    row = Row(
        detector=f"{config.recipe.detector.family}, trained here",
        metric="ap",
        published=ONE_X_AP,
        tolerance=ONE_X_TOLERANCE,
        ap={"our_network": rungs[-1].metrics[f"{config.data.report_split}/ap"]},
        images_per_second=images / rungs[-1].seconds_train,
    )
    return [row]


def list_header_lines() -> list[str]:
    """Returns the first two lines of a Markdown table."""
    theirs, ours, network = COLUMNS.values()
    names = ["detector", "metric", "published", theirs, "difference"]
    names += [ours, "our resize makes", network, "images/s", "verdict"]
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def format_row(row: Row, *, judged: bool) -> str:
    """Returns the line of a row; a row that is not judged has no verdict."""
    theirs, ours, network = (
        f"{row.ap[column]:.2f}" if column in row.ap else "-" for column in COLUMNS
    )
    both = {"torchvision", "our_resize"} <= row.ap.keys()
    effect = f"{row.ap['our_resize'] - row.ap['torchvision']:+.2f}" if both else "-"
    verdict = f"{'within' if row.is_within else 'NOT within'} {row.tolerance:g}" if judged else "-"
    cells = [row.detector, row.metric, f"{row.published:.1f}", theirs, f"{row.difference:+.2f}"]
    cells += [ours, effect, network, f"{row.images_per_second:.3g}", verdict]
    return f"| {' | '.join(cells)} |"


def write_json(
    path: Path, rows: Sequence[Row], skipped: Mapping[str, str], arguments: argparse.Namespace
) -> None:
    """Writes rows, reasons and versions; an AP that is no number is null."""
    content = {
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "device": str(arguments.device),
        "limit": arguments.limit,
        "rows": [
            asdict(row)
            | {"ap": {column: None if math.isnan(ap) else ap for column, ap in row.ap.items()}}
            | {"is_within": None if arguments.limit else row.is_within}
            for row in rows
        ],
        "skipped": skipped,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def main(
    options: Sequence[str] | None = None,
    anchors: Sequence[Anchor] = ANCHORS,
    study: Path = ONE_X,
) -> int:
    """Prints each row once it is known; returns 1 if one is outside its tolerance or skipped."""
    arguments = read_arguments(options, [anchor.name for anchor in anchors], __doc__)
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    print(*list_header_lines(), sep="\n")
    jobs = {a.name: partial(score_anchor, a) for a in anchors if a.name in arguments.only}
    if arguments.train:
        jobs["training"] = partial(train_one_x, study)
    for name, score in jobs.items():
        try:
            new_rows = score(arguments)
        except (MissingWeights, RethinkError) as error:
            skipped[name] = str(error)
        else:
            rows += new_rows
            lines = (format_row(row, judged=not arguments.limit) for row in new_rows)
            print(*lines, sep="\n", flush=True)
        if arguments.json:
            write_json(arguments.json, rows, skipped, arguments)
    for name, reason in skipped.items():
        print(f"skipped {name}: {reason}")
    is_good = bool(arguments.limit) or all(row.is_within for row in rows)
    return 0 if is_good and rows and not skipped else 1


if __name__ == "__main__":
    sys.exit(main())
