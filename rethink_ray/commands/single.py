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
    split: Annotated[
        str | None, typer.Option(help="which split to score [the one that the study reports on]")
    ] = None,
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
        print(say_split(metrics, split))
        width = max(len(name) for name in metrics)
        for name, value in metrics.items():
            print(f"{name:<{width}} {score_text(name, value, 8)}")
        return
    metrics, others = evaluate_by_both_scorers(run, split)
    print(say_split(metrics, split))
    for line in reference_lines(metrics, others):
        print(line)


def say_split(metrics: Mapping[str, float], named: str | None) -> str:
    """Which split was scored, and why that one; ``named``: by the user."""
    split = next(iter(metrics)).partition("/")[0]
    why = ", on which its study reports" if named is None else ""
    learned = ", from which it learned: this is no score of new pictures" * (split == "train")
    return f"scored on {split}{why}{learned}"


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
    images: Annotated[
        list[Path], typer.Argument(help="pictures, or folders of them (sub-folders included)")
    ],
    out: Annotated[Path, typer.Option(help="folder for the pictures and detections.json")],
    score: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="draw boxes with at least this score [of its class in card.json, 0.3]",
        ),
    ] = None,
) -> None:
    """Draw the detections of a trained model on pictures, and write them as JSON.

    Boxes, and masks or keypoints if the model has them. detections.json has every detection in the
    form of COCO's results; its labels count from 1, in the order of the model's classes.
    """
    from rethink_ray.training.predict import predict_images

    prediction = predict_images(run, images, out, score=score)
    if prediction.is_from_card:
        shown = ", ".join(f"{name} {low:g}" for name, low in prediction.thresholds.items())
        print(f"lowest scores that are drawn, from the model's card: {shown}")
    usual = max(prediction.thresholds.values())
    least = "of its class" if prediction.is_from_card else f"of at least {usual:g}"
    for path, num_boxes in prediction.pictures.items():
        boxes = "1 box" if num_boxes == 1 else f"{num_boxes} boxes"
        print(f"{path}: {boxes} with a score {least}")
    for path, fault in prediction.skipped.items():
        print(f"skipped: {path} ({fault.replace('_', ' ')})")
    print(prediction.detections)
    if not any(prediction.pictures.values()) and usual > 0:
        print("No box reaches that score. To see weaker ones: --score 0.05")
