"""``export --weights``: models that ``evaluate`` and ``predict`` can open, each with its card."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rethink_ray.analysis.export import Exported
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.model_card import model_card
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.card import MODEL_FILE
from rethink_ray.spec.load import load_config
from rethink_ray.spec.resolve import TrialConfig


def write_models(study: StudyDirectory, written: Exported) -> Iterator[str]:
    """Each exported file has a folder with its model and card; yields a line for each file.

    A line about weights that the study did not keep names the command that trains them again.
    """
    findings = derive_findings(read_tables(study))
    for path, origin in written.made_of.items():
        folder = path.with_suffix("")
        kept = study.root / "trials" / origin.member.trial_id / "models"
        source = kept / f"{origin.length:g}x.pt"
        if not source.exists():
            yield f"no weights kept: {path.name}; rethink-ray train {path} --out {folder}"
            continue
        config = load_config(path)
        model_parts = {
            "config": config.model_dump_json(include=set(TrialConfig.model_fields)),
            "length": origin.length,
            "categories": list(study.facts.categories),
            "level_ranges": {kind: [*scale] for kind, scale in study.facts.level_ranges.items()},
        }
        yield str(_copy_weights(source, folder, model_parts))
        card = folder / "README.md"
        write_atomically(card, model_card(findings, path.name, config, origin))
        yield str(card)


def _copy_weights(source: Path, folder: Path, model_parts: Mapping[str, Any]) -> Path:
    """The folder holds the weights, and the configuration that ``evaluate`` needs."""
    from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint

    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / MODEL_FILE, {**load_checkpoint(source), **model_parts})
    return folder / MODEL_FILE
