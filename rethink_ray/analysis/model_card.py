"""A model card: the model, its scores, its training images, and the caveats of its study."""

from rethink_ray.analysis.export import RungOrigin
from rethink_ray.analysis.findings import Findings
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import counted, metric_name, span, times
from rethink_ray.spec.card import CardScore, ModelCard
from rethink_ray.spec.detector import DetectorSpec
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.own_families import network_in_words
from rethink_ray.spec.resolve import Cell, ExportedConfig


def model_card(findings: Findings, file: str, config: ExportedConfig, origin: RungOrigin) -> str:
    """Markdown for the folder of one exported model.

    Args:
        findings: of its study.
        file: the exported configuration beside the folder.
        config: what that file says.
        origin: the rung it repeats.
    """
    recipe, cell, study = config.recipe, origin.cell, findings.study
    frozen = "" if recipe.init.frozen == "none" else f", frozen up to {recipe.init.frozen}"
    if recipe.init.unfreeze is not None:
        frozen += f" for the first {recipe.init.unfreeze.after:g}x"
    start: str = recipe.init.source
    if start == "detector":
        start = f"a whole detector ({recipe.init.weights})"
    parts = [
        f"# {study.study}: {cell.name} at {times(origin.length)}",
        f"A {_network(recipe.detector)}, started from {start}{frozen}. "
        f"It finds {_classes(findings)}.",
        "## How well it does",
        "\n".join(_scores(findings, origin)),
        "## What it was trained on",
        f"{counted(findings.facts.regime_sizes.get(cell.regime, 0), 'image')} of the data set "
        f"with fingerprint {findings.facts.fingerprint}, {times(origin.length)} of "
        f"{recipe.schedule.unit} updates at batch {recipe.batch_size}. Images are scaled to "
        f"{recipe.detector.min_side_px} px. The file {file} has every setting.",
        "## What to beware of",
        "\n".join(f"- {text}" for text in _caveats(findings, origin)),
        "## Use",
        f"    rethink-ray evaluate {file.removesuffix('.yaml')} --split {study.data.report_split}\n"
        f"    rethink-ray predict {file.removesuffix('.yaml')} photo.jpg --out pictures\n"
        f"    rethink-ray train {file} --out again      # repeats it from its configuration",
    ]
    return "\n\n".join(parts) + "\n"


def fill_card(card: ModelCard, findings: Findings, origin: RungOrigin) -> ModelCard:
    """The card with what its study knows: scores, those of replicates first, and caveats."""
    update = {
        "scores": _list_scores(findings, origin),
        "caveats": tuple(_caveats(findings, origin)),
    }
    return card.model_copy(update=update)


def _list_scores(findings: Findings, origin: RungOrigin) -> tuple[CardScore, ...]:
    """The mean of the replicates, and this very model's score on the selection split."""
    study = findings.study
    point = _cell(findings, origin).point(origin.length)
    if point is None or point.incumbent != origin.member.trial_id:
        return ()
    point, metric = point.of_incumbent, study.objective.metric
    scores = []
    if point.mean is not None:
        scores.append(
            CardScore(
                metric=metric,
                split=study.data.report_split,
                value=point.mean.value,
                interval=point.mean.interval(),
                replicates=len(point.values),
            )
        )
    if point.select is not None:
        scores.append(CardScore(metric=metric, split=study.data.select_split, value=point.select))
    return tuple(scores)


def _network(detector: DetectorSpec) -> str:
    words = network_in_words(detector.family, detector.backbone)
    return words if is_own(detector.family) else f"{words} ({detector.norm} normalisation)"


def _classes(findings: Findings) -> str:
    names = findings.facts.categories
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"{counted(len(names), 'class', 'classes')}: {', '.join(names[:12])}{more}"


def _scores(findings: Findings, origin: RungOrigin) -> list[str]:
    study, metric = findings.study, metric_name(findings.study)
    point = _cell(findings, origin).point(origin.length)
    if point is None or point.incumbent != origin.member.trial_id:
        return ["- not scored yet"]
    point, lines = point.of_incumbent, []
    if point.select is not None:
        tried = len(findings.search[Cell(origin.cell.regime, origin.cell.arm)])
        lines.append(
            f"- {metric} on {study.data.select_split}: {point.select:.2f}, this very model, the "
            f"best of {counted(tried, 'configuration')} and so biased upwards"
        )
    mean = point.mean
    if mean is None:
        return [*lines, "- no replicates: how much of this is chance is not known"]
    size = f"{mean.value:.2f} {span(mean.interval(), sign=False)}".rstrip()
    runs = f"{counted(len(point.values), 'run')} of its configuration with new seeds"
    return [*lines, f"- {metric} on {study.data.report_split}: {size}, {runs}"]


def _caveats(findings: Findings, origin: RungOrigin) -> list[str]:
    return [c.text for c in findings.caveats if _bears(c, origin)]


def _bears(caveat: Caveat, origin: RungOrigin) -> bool:
    """Whether a caveat is about this cell or about all; those of comparisons are not."""
    if caveat.between_arms_at is not None or caveat.of is not None:
        return False
    own_regime = caveat.regime in (None, origin.cell.regime)
    return own_regime and caveat.arm in (None, origin.cell.arm)


def _cell(findings: Findings, origin: RungOrigin) -> CellResult:
    return next(
        cell
        for regime in findings.regimes
        for cell in regime.cells
        if (cell.regime, cell.arm) == (origin.cell.regime, origin.cell.arm)
    )
