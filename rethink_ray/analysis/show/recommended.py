"""The first screen: what to train with, the table of arms, and what to do next."""

import textwrap
from collections.abc import Iterator

from rethink_ray.analysis.answer import Answer, RankedArm, RegimeAnswer
from rethink_ray.analysis.answer_words import say_hours
from rethink_ray.analysis.containment import missing_summary
from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.show.render import aligned
from rethink_ray.judge.wording import mean_text, metric_name, times
from rethink_ray.spec.study import Study

WIDTH = 100
"""Columns of a paragraph in a terminal."""


def answer_terminal(findings: Findings, root: str) -> str:
    """The whole answer for a terminal.

    Args:
        findings: of the study.
        root: its directory, ready to be pasted into a command.
    """
    parts = ["\n".join([findings.study.study, findings.study.question]).rstrip()]
    if findings.missing_sections:
        parts.append(_filled(missing_summary(findings.missing_sections)))
    cautions = dict(zip((r.name for r in findings.regimes), findings.answer_cautions, strict=True))
    for answer in findings.answer.regimes:
        lines = [_filled(answer.paragraph), *(f"    {line}" for line in use_lines(answer, root))]
        lines += [_filled(f"caveat: {text}", "    ") for text in cautions[answer.regime]]
        parts.append("\n".join(lines))
    if findings.answer.regimes:
        parts.append(aligned(arms_sheet(findings.study, findings.answer)))
    if findings.missing or findings.incomplete:
        parts.append(_filled(findings.missing or findings.incomplete))
    parts.append("\n".join(next_lines(findings, root)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def use_lines(answer: RegimeAnswer, root: str) -> tuple[str, ...]:
    """The commands that train what is recommended; none where nothing is."""
    if answer.recommended is None:
        return ()
    file = f"{root}/best/{answer.recommended.file}"
    return (f"rethink-ray export {root}", f"rethink-ray train {file} --out {answer.regime}-model")


def arms_sheet(study: Study, answer: Answer) -> Sheet:
    """Every arm at its best length: its score, and whether it may be the best."""
    metric = metric_name(study)
    return Sheet(
        title="The arms, each at its best length",
        note=(
            f"{metric} on {study.data.report_split}: the mean of fresh replicates, its 95 % "
            "interval by itself, and their number. Which length is best was chosen by search "
            f"trials on {study.data.select_split}. Behind: at most so far behind the best arm. In "
            "95 studies of 100 the best is among those that may be, and no arm is further behind."
        ),
        columns=("regime", "arm", "length", metric, "may be the best", f"behind ({metric})"),
        rows=tuple(_arm_row(regime, ranked) for regime in answer.regimes for ranked in regime.arms),
        numeric=frozenset({2, 3, 5}),
    )


def _arm_row(regime: RegimeAnswer, ranked: RankedArm) -> tuple[str, ...]:
    mean, is_chosen = ranked.mean, regime.recommended and regime.recommended.arm == ranked.arm
    if ranked.why_not:
        standing = "not compared"
    elif ranked.may_be_best is None:
        standing = "-"
    else:
        standing = "yes" if ranked.may_be_best else f"no: behind {ranked.shown_behind}"
    return (
        regime.regime,
        ranked.arm,
        times(ranked.length) if ranked.length is not None else "-",
        f"{mean_text(mean)} ({mean.nums[0]})" if mean else "-",
        f"{standing}, recommended" if is_chosen else standing,
        f"{ranked.behind:.1f}" if ranked.behind is not None else "-",
    )


def next_lines(findings: Findings, root: str) -> Iterator[str]:
    """The next commands to type: what would decide what is open, and how to use the answer."""
    if findings.missing:
        yield f"next: rethink-ray resume {root}"
        return
    step = findings.answer.next
    if step is not None:
        price = f" ({say_hours(findings.study, step.hours)} more)" if step.hours else ""
        yield f"next: rethink-ray resume {root} {step.option}  # would tell {step.decides}{price}"
    if any(regime.recommended for regime in findings.answer.regimes):
        yield f"next: rethink-ray export {root}  # writes what is recommended as files that train"
