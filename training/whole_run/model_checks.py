"""Are the models that a run names there? Asked before it begins, of a small file of each.

A name with a slip in it would be found when its model is loaded: the backbone's after days of
generating, in a folder whose config may no longer change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eliq.errors import TrainingError

from ..evaluation.raters import check_pyiqa
from ..tiny_pipelines import TINY_PIPELINES
from .config import RunConfig

__all__ = ["check_models"]

_OWN = ("embedded", "tiny", "none", "auto")


def check_models(config: RunConfig) -> None:
    """Looks for the config of every model, in a directory, the hub's cache or the hub; no weights.

    Raises:
        TrainingError: one is not there, with the setting that names it. EvaluationError: pyiqa has
            no metric of a name given, or is not installed.
    """
    for field, name, revision, file in _named(config):
        if name.startswith("pyiqa:"):
            check_pyiqa(name.removeprefix("pyiqa:"))
        elif name not in _OWN and name not in TINY_PIPELINES:
            _look_for(field, name.removeprefix("zero-shot:"), revision, file)


def _named(config: RunConfig) -> Iterator[tuple[str, str, str | None, str]]:
    """(setting, name, revision, the file that must be there)."""
    models = [] if config.images is not None else [("positives", config.positives.models)]
    if config.negatives is not None:
        made = config.negatives
        models.append(("negatives", (made.models or ()) + made.all_models[len(made.generators) :]))
        yield "negatives.gate.scorer", made.gate.scorer, None, "config.json"
    for section, some in models:
        for one in some:
            yield f"{section}: {one.name}", one.model, one.revision, "model_index.json"
    choice = config.evaluation
    yield "backbone.name", config.backbone.name, config.backbone.revision, "config.json"
    yield "evaluation.zero_shot", choice.zero_shot, None, "config.json"
    for metric in choice.pyiqa:
        yield "evaluation.pyiqa", f"pyiqa:{metric}", None, ""


def _look_for(field: str, name: str, revision: str | None, file: str) -> None:
    folder = Path(name)
    if folder.is_dir():
        if not (folder / file).is_file():
            raise TrainingError(f"{field}: expected {file} in the directory {name}, found none")
        return
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError

    try:
        hf_hub_download(name, file, revision=revision)
    except GatedRepoError as error:
        raise TrainingError(
            f"{field}: {name} asks for an agreed licence: accept it on the hub and `hf auth login`"
        ) from error
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{field}: expected a directory or a model of the hub with {file}, found neither for "
            f"{name!r}: check the spelling, or download it where there is a network"
        ) from error
