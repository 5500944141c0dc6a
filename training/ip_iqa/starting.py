"""Where a training of IP-IQA starts from: CLIP's weights, or tiny towers for a smoke run."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from eliq.errors import TrainingError
from eliq.ip_iqa import IPIQAModel, PromptTokenizer, load_clip, start_pooling
from training.tiny_ip_iqa import tiny_config, tiny_model, tiny_tokenizer

from .data import RatedData, TensorPixels
from .rated_scenes import RatedScenes, SceneSettings, rated_scenes

__all__ = ["add_start_options", "scene_data", "smoke_start", "start_from"]


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """--clip, --tokenizer, --size and --device, the same for every training of IP-IQA."""
    parser.add_argument(
        "--clip",
        help="CLIP's weights: a folder or hub id in open_clip's or transformers' layout, such as "
        "timm/resnet50_clip.openai, or open_clip:RN50:openai",
    )
    parser.add_argument("--tokenizer", help="tokenizer.json, where --clip has none beside it")
    parser.add_argument("--size", type=int, default=512, help="side of the images in px")
    parser.add_argument("--device", help="cpu, cuda, ...; default: a GPU where there is one")


def start_from(
    options: argparse.Namespace, *, outputs: tuple[str, ...], **changes: object
) -> tuple[IPIQAModel, PromptTokenizer]:
    """The model and tokenizer that the options of `add_start_options` name.

    Raises:
        TrainingError: no --clip. BackboneError: see `load_clip`.
    """
    if options.clip is None:
        raise TrainingError("give --clip, the weights to start from, or --smoke; see --help")
    start = load_clip(
        options.clip,
        image_size_px=options.size,
        tokenizer=options.tokenizer,
        outputs=outputs,
        **changes,
    )
    return start.model, PromptTokenizer(start.tokenizer, start.model.config)


def scene_data(scenes: RatedScenes, encoder: PromptTokenizer) -> RatedData:
    """Rendered scenes as the trainings read them; the prompt is the group."""
    columns = {"visual_quality": 0, "alignment": 1, "overall": 0}
    kept = [columns[output] for output in encoder.config.outputs]
    return RatedData(
        TensorPixels(scenes.images),
        tuple(scenes.prompts),
        encoder(scenes.prompts).ids,
        tuple(scenes.prompts),
        scenes.ratings[:, kept].contiguous(),
    )


def smoke_start(
    out: Path | None, *, outputs: Sequence[str] = ("visual_quality", "alignment")
) -> tuple[IPIQAModel, PromptTokenizer, RatedData, Path]:
    """Random tiny towers and 48 rendered scenes; the numbers mean nothing."""
    config = tiny_config(outputs=tuple(outputs), pooling_start="clip")
    scenes = rated_scenes(SceneSettings(size_px=config.image_size_px, num_prompts=12, per_prompt=4))
    torch.manual_seed(0)
    encoder = PromptTokenizer(tiny_tokenizer(), config)
    out = out or Path(tempfile.mkdtemp(prefix="ip-iqa-smoke-"))
    model = tiny_model(config)
    start_pooling(model)
    return model, encoder, scene_data(scenes, encoder), out
