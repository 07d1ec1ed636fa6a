"""One table of all trials, which a reader sorts and filters in the page."""

from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.read.trials import CellRecord, Trial
from rethink_ray.judge.wording import metric_name, times, value_text

MOST_ROWS = 1000
"""Of the table, shared evenly among cells; ``trials.parquet`` has all trials."""
ALL_TRIALS = "All trials"
HEAD = ("trial", "regime", "arm", "role", "state", "best at", "reached")


def all_trials_sheet(findings: Findings) -> Sheet:
    """Every trial: cell by cell, incumbents and longest first, replicates after search trials."""
    study, records = findings.study, findings.records
    share = MOST_ROWS // max(1, len(records))
    shown = [(record, trial) for record in records.values() for trial in _order(record)[:share]]
    num_all = sum(len(record.search) + len(record.replicates) for record in records.values())
    paths = list(dict.fromkeys(path for _, trial in shown for path in trial.params))
    splits = dict.fromkeys((study.data.select_split, study.data.report_split))
    scores = [f"{metric_name(study)} on {split}" for split in splits]
    columns = (*HEAD, *scores, *paths, "seconds")
    left = num_all - len(shown)
    more = f" {left} more are in trials.parquet." if left else ""
    return Sheet(
        title=ALL_TRIALS,
        note="Scores are of the longest length that a trial reached. That of a search trial on "
        f"{study.data.select_split} is what it was chosen by, so the best one is too high.{more}",
        columns=columns,
        rows=tuple(
            (
                *_head_of(record, trial),
                *_scores_of(record, trial)[: len(scores)],
                *(value_text(trial.params[p]) if p in trial.params else "-" for p in paths),
                f"{trial.seconds:.0f}",
            )
            for record, trial in shown
        ),
        numeric=frozenset(range(len(HEAD) - 1, len(columns))),
    )


def _order(record: CellRecord) -> list[Trial]:
    order = sorted(
        record.search, key=lambda t: (-len(t.incumbent_for), -(t.longest or 0.0), t.trial_id)
    )
    return [*order, *sorted(record.replicates, key=lambda t: (t.of or "", t.trial_id))]


def _head_of(record: CellRecord, trial: Trial) -> tuple[str, ...]:
    search = f" {trial.search + 1}" if trial.searches > 1 else ""
    return (
        trial.trial_id,
        record.cell.regime,
        record.cell.arm,
        f"replicate of {trial.of}" if trial.of else f"search{search}",
        f"{trial.state}{' (audit)' if trial.audit else ''}",
        ", ".join(times(length) for length in trial.incumbent_for) or "-",
        times(trial.longest) if trial.longest else "-",
    )


def _scores_of(record: CellRecord, trial: Trial) -> list[str]:
    """On the split that selects, and on the one that reports."""
    score = record.scores.get((trial.trial_id, trial.longest or 0.0))
    values = (score.select, score.report) if score else (None, None)
    return ["-" if value is None else f"{value:.2f}" for value in values]
