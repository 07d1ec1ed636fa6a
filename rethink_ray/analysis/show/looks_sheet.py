"""The primary comparisons of a study that stops when it has decided, as one table."""

from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.look_stop import LookStop, say_stop
from rethink_ray.judge.verdicts import Finding
from rethink_ray.judge.wording import metric_name, signed, span, unit_name

TITLE = "Looks"


def looks_sheet(findings: Findings) -> Sheet:
    """Where each primary comparison stands, and its three estimates; no rows without looks."""
    metric, unit = metric_name(findings.study), unit_name(findings.study)
    rows = [_row(f, f.stop, unit) for f in findings.findings if f.stop is not None]
    return Sheet(
        title=TITLE,
        note=(
            f"In {metric}. Verdict, p and the first three numbers are those of the look that "
            "stopped a comparison. The 95 % interval holds whichever look that is; the family's "
            "hold for all primary comparisons together. The corrected estimate is about as often "
            "too high as too low over all studies, whenever they stop. Among those that stop early "
            "it is too large, and so is the plain difference: it takes luck to stop early. "
            f"What all {unit} so far say describes, and decides nothing."
        ),
        columns=(
            "comparison",
            "verdict",
            "looks",
            "difference",
            "95 % interval",
            "family's interval",
            "corrected estimate",
            f"all {unit} so far",
        ),
        rows=tuple(rows),
        numeric=frozenset({3, 4, 5, 6, 7}),
    )


def _row(finding: Finding, stop: LookStop, unit: str) -> tuple[str, ...]:
    effect, later = finding.effect, stop.later
    all_runs = f"{signed(later.value)} {span(later.interval())}".rstrip() if later else "-"
    return (
        finding.claim,
        finding.verdict.value,
        say_stop(stop, unit),
        signed(effect.value) if effect else "-",
        span(finding.interval) or "-",
        span(stop.family_interval) or "-",
        "-" if stop.unbiased is None else signed(stop.unbiased),
        all_runs,
    )
