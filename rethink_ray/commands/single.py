"""``train``, ``evaluate`` and ``predict``: one run without a study; in one process without Ray."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(help="a configuration written by export")]
RunDir = Annotated[Path, typer.Argument(help="what train wrote")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(train)
    app.command()(evaluate)
    app.command()(predict)


def train(
    config: ConfigFile,
    out: Annotated[Path, typer.Option(help="folder of the run")],
    workers: Annotated[int, typer.Option(min=0, help="Ray Train workers; 0 = this process")] = 0,
) -> None:
    """Run one configuration; an exported one reproduces its number."""
    from rethink_ray.commands.reruns import shared_by_workers, verdict_lines
    from rethink_ray.spec.load import load_config
    from rethink_ray.training.run import train_config

    asked = load_config(config)
    rungs = shared_by_workers(asked, out, workers) if workers else train_config(asked, out)
    for line in verdict_lines(asked, rungs, exact=not workers):
        print(line)


def evaluate(
    run: RunDir,
    split: Annotated[str, typer.Option(help="which split to score")] = "test",
) -> None:
    """Score the checkpoint of a run on one split: COCO's numbers of boxes, masks, keypoints."""
    from rethink_ray.training.run import evaluate_checkpoint

    for name, value in evaluate_checkpoint(run, split).items():
        print(f"{name:<12} {value:8.3f}")


def predict(
    run: RunDir,
    images: Annotated[list[Path], typer.Argument(help="image files")],
    out: Annotated[Path, typer.Option(help="folder for the pictures")],
    score: Annotated[float, typer.Option(help="draw boxes with at least this score")] = 0.3,
) -> None:
    """Draw what a run's checkpoint finds on images: boxes, masks, keypoints."""
    from rethink_ray.training.run import predict_images

    for path in predict_images(run, images, out, score_threshold=score):
        print(path)
