"""Whether a batch divides among workers and into micro-batches, and what a norm then sees.

A split that leaves a remainder is refused before training starts, and so is a ``norm_batch`` other
than the number of images that are normalised together. A micro-batch must not tear a padding group
apart; without micro-batches the last group of a batch may be smaller.
"""

from collections.abc import Callable, Iterable

from rethink_ray.spec.batches import (
    Batch,
    batches_of,
    direct_batches_of,
    images_by_kind,
    upstream_detector_batches_of,
)
from rethink_ray.spec.reach import Run
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.rules.starts import keeps_backbone
from rethink_ray.spec.trial_config import uses_upstream_detector

MICRO = "resources.images_per_step"


def _leaves_no_whole_parts(run: Run) -> bool:
    """Some kind of label gets no whole number of images, none, or a number that workers cannot
    share."""
    labels, parts = run.recipe.labels, images_by_kind(run.recipe)
    if not labels.has_pseudo:
        return False
    is_whole = abs(run.recipe.batch_size * labels.share - parts[1]) < 1e-6
    return not is_whole or min(parts) < 1 or any(part % run.num_workers for part in parts)


def _has_unequal_parts(recipe: Recipe) -> bool:
    return len(set(images_by_kind(recipe))) == 2


def _first(
    run: Run, batches: Iterable[Batch], breaks: Callable[[Run, Batch], bool]
) -> bool | Breach:
    """The first of the batches that breaks a rule about micro-batches."""
    for batch in batches:
        if batch.at_once(run.resources) < batch.share(run.num_workers) and breaks(run, batch):
            share = batch.share(run.num_workers)
            fitting = [n for n in range(batch.group, share + 1, batch.group) if share % n == 0]
            remedy = f"Take one of {', '.join(map(str, fitting))}." if fitting else "Leave it out."
            words = {"batch": batch, "share": share, "fitting": remedy}
            return Breach(came=run.resources.images_per_step, words=words)
    return False


def _is_normalised_otherwise(run: Run, batches: Iterable[Batch]) -> bool | Breach:
    """The first batch whose norm sees another number of images than it asks for."""
    num_workers = run.num_workers
    for batch in batches:
        at_once = batch.at_once(run.resources)
        together = {"bn": at_once, "sync_bn": at_once * num_workers}.get(batch.norm)
        if together is None or batch.norm_batch in (None, together):
            continue
        if at_once * num_workers < batch.num_images:
            product = MICRO + (" x workers" if batch.norm == "sync_bn" else "")
        else:
            product = batch.key if batch.norm == "sync_bn" else f"{batch.key} / workers"
        words = {"product": product, "together": together, "batch": batch}
        return Breach(key=batch.norm_key, came=batch.norm_batch, words=words)
    return False


def _split_rules(
    batches: Callable[[Recipe], Iterable[Batch]], reads: tuple[str, ...], norm_remedy: str = ""
) -> tuple[Rule[Run], ...]:
    """The rules about micro-batches and norms, for one source of batches."""
    return (
        Rule(
            key=MICRO,
            reads=reads,
            broken=lambda run: _first(
                run,
                batches(run.recipe),
                lambda run, batch: bool(
                    batch.share(run.num_workers) % batch.at_once(run.resources)
                ),
            ),
            must="must divide the {share} images of a worker ({batch.key} / workers)",
            remedy="{fitting}",
        ),
        Rule(
            key=MICRO,
            reads=reads,
            broken=lambda run: _first(
                run,
                batches(run.recipe),
                lambda run, batch: bool(batch.at_once(run.resources) % batch.group),
            ),
            must="must be a multiple of detector.padding_group = {batch.padding_group}",
            remedy="{fitting}",
        ),
        Rule(
            key="detector.norm_batch",
            reads=reads,
            broken=lambda run: _is_normalised_otherwise(run, batches(run.recipe)),
            must="must equal {product} = {together} under {batch.norm}",
            remedy=norm_remedy,
        ),
    )


DIRECT_BATCH_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="direct.batch_size",
        reads=("init.source",),
        broken=lambda run: (
            run.recipe.init.source == "direct"
            and run.recipe.direct.batch_size % run.num_workers > 0
        ),
        must="must divide among {resources.workers} workers",
    ),
    *_split_rules(
        direct_batches_of,
        (
            "init.source",
            "detector.padding_group",
            "direct.norm",
            "direct.norm_batch",
            "direct.batch_size",
        ),
    ),
)
UPSTREAM_DETECTOR_BATCH_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="upstream_detector.batch_size",
        reads=("init.source", "init.weights"),
        broken=lambda run: (
            uses_upstream_detector(run.recipe)
            and run.recipe.upstream_detector.batch_size % run.num_workers > 0
        ),
        must="must divide among {resources.workers} workers",
    ),
    *_split_rules(
        upstream_detector_batches_of,
        (
            *("init.source", "init.weights", "detector.norm", "detector.padding_group"),
            "upstream_detector.batch_size",
        ),
    ),
)
BATCH_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="batch_size",
        broken=lambda run: run.recipe.batch_size % run.num_workers > 0,
        must="must divide among {resources.workers} workers",
    ),
    Rule(
        key="labels.share",
        reads=("batch_size", "labels.kind"),
        broken=lambda run: (
            _leaves_no_whole_parts(run)
            and Breach(came=run.recipe.labels.share, words={"num_workers": run.num_workers})
        ),
        must="must cut batch_size {batch_size} into whole parts that divide among {num_workers} "
        "workers",
        remedy="With one worker, half of an even batch always does.",
    ),
    Rule(
        key="labels.share",
        reads=("batch_size", "labels.kind", "detector.norm_batch"),
        broken=lambda run: (
            run.recipe.detector.norm_batch is not None and _has_unequal_parts(run.recipe)
        ),
        must="must be 0.5 where detector.norm_batch is set: each kind is normalised by itself",
    ),
    *_split_rules(
        batches_of,
        (
            "batch_size",
            "detector.family",
            "detector.norm",
            "detector.norm_batch",
            "detector.padding_group",
            "labels.kind",
            "labels.share",
        ),
        "Write {together}, or leave it out. Few images give poor statistics: detector.norm: "
        "frozen_bn keeps those of loaded weights.",
    ),
)
JOINT_BATCH_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="joint.weight",
        reads=("init.frozen", "init.unfreeze"),
        broken=lambda run: run.recipe.joint.weight > 0 and keeps_backbone(run.recipe),
        must="must be 0 on a frozen backbone, which cannot learn to classify",
    ),
    Rule(
        key="joint.batch_size",
        reads=("joint.weight",),
        broken=lambda run: (
            run.recipe.joint.weight > 0 and run.recipe.joint.batch_size % run.num_workers > 0
        ),
        must="must divide among {resources.workers} workers",
    ),
)
