"""``train``, ``evaluate`` and ``predict``: one run without a study, in one process without Ray."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(help="a configuration written by export")]
RunDir = Annotated[Path, typer.Argument(help="a folder that train wrote")]


def register_run_commands(app: typer.Typer) -> None:
    """The command line has these commands."""
    app.command("train")(train)
    app.command("evaluate")(print_scores)
    app.command("predict")(draw_predictions)


def train(
    config: ConfigFile,
    out: Annotated[Path, typer.Option(help="folder of the run")],
    workers: Annotated[int, typer.Option(min=0, help="Ray Train workers; 0 = this process")] = 0,
) -> None:
    """Train one configuration; an exported one reproduces its number."""
    from rethink_ray.commands.reruns import train_and_print_rungs, verdict_lines
    from rethink_ray.spec.load import load_config
    from rethink_ray.training.run import train_config

    loaded = load_config(config)
    rungs = train_and_print_rungs(loaded, out, workers) if workers else train_config(loaded, out)
    for line in verdict_lines(loaded, rungs, exact=not workers):
        print(line)


def print_scores(
    run: RunDir,
    split: Annotated[str, typer.Option(help="which split to score")] = "test",
    reference: Annotated[
        bool, typer.Option(help="score with pycocotools too, and print the largest difference")
    ] = False,
) -> None:
    """Score a trained model on one split.

    Prints COCO's metrics of boxes, masks and keypoints in AP points; a dash where the split has no
    object of that size or category.
    """
    from rethink_ray.spec.metrics import score_text
    from rethink_ray.training.run import evaluate_by_both_scorers, evaluate_checkpoint

    if not reference:
        metrics = evaluate_checkpoint(run, split)
        width = max(len(name) for name in metrics)
        for name, value in metrics.items():
            print(f"{name:<{width}} {score_text(name, value, 8)}")
        return
    for line in reference_lines(*evaluate_by_both_scorers(run, split)):
        print(line)


def reference_lines(metrics: Mapping[str, float], reference: Mapping[str, float]) -> Iterator[str]:
    """A table of both scorers' metrics, in AP points, and the largest difference below it."""
    from rethink_ray.detection.reference_scoring import largest_difference
    from rethink_ray.spec.metrics import say_uncounted

    width = max(len(name) for name in metrics)
    yield f"{'':<{width}} {'here':>8} {'pycocotools':>12}"
    for name, value in metrics.items():
        scores = (value, reference.get(name, math.nan))
        shown = ["-" if math.isnan(score) else f"{score:.3f}" for score in scores]
        why = f" ({say_uncounted(name)})" if math.isnan(value) else ""
        yield f"{name:<{width}} {shown[0]:>8} {shown[1]:>12}{why}"
    yield f"largest difference: {largest_difference(metrics, reference):.1e} points"


def draw_predictions(
    run: RunDir,
    images: Annotated[list[Path], typer.Argument(help="image files")],
    out: Annotated[Path, typer.Option(help="folder for the pictures")],
    score: Annotated[
        float, typer.Option(min=0, max=1, help="draw boxes with at least this score")
    ] = 0.3,
) -> None:
    """Draw the detections of a trained model on images.

    Boxes, and masks or keypoints if the model has them.
    """
    from rethink_ray.training.run import predict_images

    pictures = predict_images(run, images, out, score_threshold=score)
    for path, num_boxes in pictures.items():
        boxes = "1 box" if num_boxes == 1 else f"{num_boxes} boxes"
        print(f"{path}: {boxes} with a score of at least {score:g}")
    if not any(pictures.values()) and score > 0:
        print("No box reaches that score. To see weaker ones: --score 0.05")
