"""Lines about a study that continues: what is finished, how it grew, which jobs go on."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rethink_ray.protocol.additions import find_additions
from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.protocol.looks import sequential_axis
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Job
from rethink_ray.spec.resolve import cells_of
from rethink_ray.spec.study import Study


def resume_lines(directory: StudyDirectory, before: Study) -> list[str]:
    """Lines that say what is finished, how the study grew since ``before``, and what comes next."""
    study, state = directory.study, directory.load_state()
    lines = list(_describe_finished(directory, state))
    added = find_additions(before, study)
    if not added.is_empty:
        num_cells = len(cells_of(study)) - len(cells_of(before))
        lines.append(f"added: {added.words} ({_count(num_cells, 'cell')} more)")
    if study.budget != before.budget or _ladder_of(study) != _ladder_of(before):
        ladder = ", ".join(f"{x:g}x" for x in _ladder_of(study))
        budget = before.budget
        lines.append(
            f"budget per cell: {budget.trials} -> {study.budget.trials} trials, "
            f"{budget.num_replicates} -> {study.budget.num_replicates} replicates"
            + _describe_searches(num_searches(before), num_searches(study))
            + (f"; ladder {ladder}" if ladder else "")
        )
    return lines + list(_describe_next(directory, state))


def _describe_finished(directory: StudyDirectory, state: StudyState) -> Iterator[str]:
    """How many rungs and assets are finished, and how many trials have each status."""
    progress = progress_of(directory.study, state)
    statuses: Counter[str] = Counter()
    for cell in progress.cells:
        statuses.update(cell.search)
        statuses.update(cell.replicates)
    waiting = statuses.pop("waiting", 0)
    trials = ", ".join(f"{num} {name}" for name, num in sorted(statuses.items()))
    rungs, assets = _count(progress.rungs, "rung"), _count(progress.assets, "asset")
    yield f"finished: {rungs}, {assets}; trials: {trials or 'no trial yet'}"
    if waiting:
        yield f"waiting: {_count(waiting, 'trial')}"


def _ladder_of(study: Study) -> tuple[float, ...]:
    return study.schedule.lengths or ()


def _describe_searches(before: int, now: int) -> str:
    return f", {before} -> {now} searches" if now > 1 else ""


def _count(num: int, noun: str) -> str:
    return f"{num} {noun}{'s' * (num != 1)}"


def _describe_next(directory: StudyDirectory, state: StudyState) -> Iterator[str]:
    """Jobs that continue, and from which update; jobs that were lost; new jobs and trials."""
    failed = {job_id for job_id, count in state.failures.items() if count}
    state.failures.clear()  # as Recorder.continue_study does
    decision = Decider(directory.study, directory.facts, propose=False).next_jobs(state)
    fresh = 0
    for job in decision.jobs:
        checkpoint = _describe_checkpoint(directory, job)
        if job.job_id in failed:
            yield f"re-queued: {job.job_id} ({state.last_failure[job.job_id].reason}){checkpoint}"
        elif checkpoint or job.job_id in state.started:
            yield f"continuing: {job.job_id}{checkpoint or ' from its beginning'}"
        else:
            fresh += 1
    proposed = sum(len(r.members) for r in decision.rounds) + decision.unproposed
    if fresh or proposed:
        yield f"new: {_count(fresh, 'job')} to start, {_count(proposed, 'trial')} to propose"
    if decision.look is not None:
        axis = sequential_axis(directory.study)
        yield f"a look at {decision.look.replicates} {axis} is due"
    if decision.done:
        yield "nothing is left to do"


def _describe_checkpoint(directory: StudyDirectory, job: Job) -> str:
    """`` from update 45``: the newest checkpoint of the job's trial; empty without one."""
    if job.trial_id is None:
        return ""
    folder = directory.trial_dir(job.trial_id)
    trunks = [_update_of(path) for path in folder.glob("trunk-*.pt")]
    branch = " and inside a branch" if (folder / "branch.pt").exists() else ""
    return f" from update {max(trunks)}{branch}" if trunks else ""


def _update_of(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
