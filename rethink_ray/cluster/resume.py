"""What a study that continues reports: what is finished, what grew, what goes on from where."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Job
from rethink_ray.spec.study import Study


def resume_lines(directory: StudyDirectory, before: Study) -> list[str]:
    """What is finished, how the study grew since ``before``, and what goes on from where."""
    study, state = directory.study, directory.load_state()
    lines = list(_finished(directory, state))
    if study != before:
        ladder = ", ".join(f"{x:g}x" for x in study.schedule.lengths or ())
        budget = before.budget
        lines.append(
            f"budget per cell: {budget.trials} -> {study.budget.trials} trials, "
            f"{budget.replicates} -> {study.budget.replicates} replicates"
            + _searches(num_searches(before), num_searches(study))
            + (f"; ladder {ladder}" if ladder else "")
        )
    return lines + list(_next(directory, state))


def _finished(directory: StudyDirectory, state: StudyState) -> Iterator[str]:
    """Trials by what became of them, rungs and assets."""
    progress = progress_of(directory.study, state)
    states: Counter[str] = Counter()
    for cell in progress.cells:
        states.update(cell.search)
        states.update(cell.replicates)
    waiting = states.pop("waiting", 0)
    told = ", ".join(f"{num} {name}" for name, num in sorted(states.items())) or "no trial yet"
    rungs, assets = _counted(progress.rungs, "rung"), _counted(progress.assets, "asset")
    yield f"finished: {rungs}, {assets}; trials: {told}"
    if waiting:
        yield f"waiting: {_counted(waiting, 'trial')}"


def _searches(before: int, now: int) -> str:
    return f", {before} -> {now} searches" if now > 1 else ""


def _counted(num: int, one: str) -> str:
    return f"{num} {one}{'s' * (num != 1)}"


def _next(directory: StudyDirectory, state: StudyState) -> Iterator[str]:
    """Jobs that were under way, where they go on from, and those the machine lost too often."""
    failed = {job_id for job_id, count in state.failures.items() if count}
    state.failures.clear()  # as continuing does
    decision = Decider(directory.study, directory.facts, propose=False).next_jobs(state)
    fresh = 0
    for job in decision.jobs:
        stands = _stands_at(directory, job)
        if job.job_id in failed:
            yield f"re-queued: {job.job_id} ({state.last_failure[job.job_id].reason}){stands}"
        elif stands or job.job_id in state.started:
            yield f"continuing: {job.job_id}{stands or ' from its beginning'}"
        else:
            fresh += 1
    proposed = sum(len(r.members) for r in decision.rounds) + decision.unproposed
    if fresh or proposed:
        yield f"new: {_counted(fresh, 'job')} to start, {_counted(proposed, 'trial')} to propose"
    if decision.done:
        yield "nothing is left to do"


def _stands_at(directory: StudyDirectory, job: Job) -> str:
    """`` from update 45``: the newest checkpoint a trial left."""
    if job.trial_id is None:
        return ""
    folder = directory.trial_dir(job.trial_id)
    trunks = [_update_of(path) for path in folder.glob("trunk-*.pt")]
    branch = " and inside a branch" if (folder / "branch.pt").exists() else ""
    return f" from update {max(trunks)}{branch}" if trunks else ""


def _update_of(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
