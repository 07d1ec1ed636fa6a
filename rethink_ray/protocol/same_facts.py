"""The data, files and code of a study that continues are those it was started with."""

from dataclasses import replace

from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.facts import DataFacts


def require_same_facts(recorded: DataFacts, measured: DataFacts) -> None:
    """``measured`` equals ``recorded``, whatever faults of the data either of them counts.

    Raises:
        DataError: the data, a file of weights or labels, or the code of a network is another one.
    """
    for path, digest in measured.files.items():
        if digest != recorded.files.get(path, digest):
            must = "must be the file that the study was started with"
            remedy = "Put it back, or give a study of the new file its own --out."
            raise DataError(explain(f"file {path}", must, "other content", remedy))
    for name, code in measured.backbones.items():
        if code != recorded.backbones.get(name, code):
            must = f"must be the code that the study was started with ({recorded.backbones[name]})"
            remedy = "Install that again, or give a study of the new code its own --out."
            raise DataError(explain(f"network {name}", must, code, remedy))
    if measured.without_faults != recorded.without_faults:
        must = "must be what the study was started on"
        remedy = "Give a study on other data its own --out."
        raise DataError(explain("data", must, measured.fingerprint, remedy))


def merge_facts(recorded: DataFacts, measured: DataFacts) -> DataFacts:
    """The facts of a study with more regimes, files or code than it was started with.

    Args:
        recorded: of the study as it was last continued.
        measured: of the study with what is added.

    Raises:
        DataError: something that the study had before is another one.
    """
    require_same_facts(recorded, _without_additions(measured, recorded))
    return replace(
        measured,
        files={**recorded.files, **measured.files},
        backbones={**recorded.backbones, **measured.backbones},
    )


def _without_additions(measured: DataFacts, recorded: DataFacts) -> DataFacts:
    """The measured facts of what the recorded ones are about.

    Whether all regimes have masks, and which metrics the smallest hold-out leaves undefined, may
    change with a new regime: no number of an old cell depends on it.
    """
    regimes = recorded.regime_sizes
    files = [path for path in measured.detector_files if path in recorded.files]
    return replace(
        measured,
        regime_sizes={k: v for k, v in measured.regime_sizes.items() if k in regimes},
        regime_digests={k: v for k, v in measured.regime_digests.items() if k in regimes},
        holdout_sizes={k: v for k, v in measured.holdout_sizes.items() if k in regimes},
        files={k: v for k, v in measured.files.items() if k in recorded.files},
        backbones={k: v for k, v in measured.backbones.items() if k in recorded.backbones},
        detector_files=tuple(files),
        has_masks=recorded.has_masks,
        undefined_metrics=recorded.undefined_metrics,
    )
