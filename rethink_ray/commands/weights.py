"""``export --weights``: models that ``evaluate`` and ``predict`` open, each with its card."""

from collections.abc import Iterator

from rethink_ray.analysis.export import Exported
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.model_card import model_card
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.views import read_views
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.load import load_config
from rethink_ray.spec.resolve import TrialConfig


def write_models(study: StudyDirectory, written: Exported) -> Iterator[str]:
    """Beside each exported file a folder with its model and card; yields what to tell of each.

    Weights that the study did not keep are named: ``train`` makes them again.
    """
    from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
    from rethink_ray.training.run import MODEL_FILE
    from rethink_ray.training.trial_files import model_path

    findings = derive_findings(read_views(study))
    for path, origin in written.made_of.items():
        folder = path.with_suffix("")
        kept = study.root / "trials" / origin.member.trial_id / "models"
        source = model_path(kept, origin.length)
        if not source.exists():
            yield f"no weights kept: {path.name}; rethink-ray train {path} --out {folder}"
            continue
        config = load_config(path)
        content = {
            **load_checkpoint(source),
            "config": config.model_dump_json(include=set(TrialConfig.model_fields)),
            "length": origin.length,
            "categories": list(study.facts.categories),
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder / MODEL_FILE, content)
        write_atomically(folder / "README.md", model_card(findings, path.name, config, origin))
        yield str(folder / MODEL_FILE)
