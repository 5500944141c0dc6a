"""Estimates hours and memory of a config of `training.run_all`, before a card is rented.

    python -m training.estimate training/runs/48gb/config.json --gpu l40s
    python -m training.estimate my.json --gpu h100 --num-gpus 8

Time is FLOP divided by 40 % of the card's dense bfloat16 peak; memory is weights, adapters with
AdamW, and activations of the largest forward. Nothing here was measured on a GPU: half as much
again, or twice, would be no surprise. It needs no GPU and takes a second.
Expect: a table on stdout, or with --json one object.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from eliq.errors import ConfigError, EliqError
from eliq.supervision.sources import read_sources

from .positives import ModelSettings, model_settings
from .prompts import read_prompts
from .stage_settings import read_settings, stage_configs
from .whole_run import RunConfig

#: Dense bfloat16 TFLOP/s with float32 sums, and GiB of memory, as the makers publish them.
GPUS = {
    "rtx4090": (165, 24),
    "a6000": (155, 48),
    "l40s": (362, 48),
    "a100": (312, 80),
    "h100": (989, 80),
}
EFFICIENCY = 0.4
GIB = 2**30
# Of an image: prefix, the two fixed questions, and the alignment question with a usual prompt.
PREFIX, TECHNICAL, AESTHETIC, ALIGNMENT = 14, 36, 34, 67


@dataclass(frozen=True)
class Sizes:
    """A Qwen3-VL: parameters of the language layers, of the embeddings with the head, of the
    vision tower; widths and depths."""

    language: float
    embeddings: float
    vision: float
    hidden: int
    ffn: int
    layers: int
    vision_hidden: int
    vision_ffn: int
    vision_layers: int
    lora_per_rank: float

    @property
    def total(self) -> float:
        return self.language + self.embeddings + self.vision


_LARGE_VISION, _SMALL_VISION = (1152, 4304, 27), (1024, 4096, 24)
BACKBONES = {
    "Qwen/Qwen3-VL-2B-Instruct": Sizes(
        1.410e9, 0.311e9, 0.407e9, 2048, 6144, 28, *_SMALL_VISION, 1.6e6
    ),
    "Qwen/Qwen3-VL-4B-Instruct": Sizes(
        3.634e9, 0.389e9, 0.415e9, 2560, 9728, 36, *_SMALL_VISION, 2.6e6
    ),
    "Qwen/Qwen3-VL-8B-Instruct": Sizes(
        6.946e9, 1.245e9, 0.576e9, 4096, 12288, 36, *_LARGE_VISION, 3.28e6
    ),
}
#: PFLOP of one image with the settings known to `training.positives`, guidance included; of another
#: size by its area.
IMAGE_PFLOP = {
    "Qwen/Qwen-Image": 12.5,
    "black-forest-labs/FLUX.1-dev": 3.7,
    "stabilityai/stable-diffusion-3.5-large": 4.4,
    "stabilityai/stable-diffusion-3.5-medium": 2.1,
    "Tongyi-MAI/Z-Image-Turbo": 0.5,
}
_WEAK_PFLOP = 0.08  # Stable Diffusion 1 at 512 px, 50 steps


def estimate(config: RunConfig, gpu: str, num_gpus: int = 1) -> dict[str, Any]:
    """Hours by step on `num_gpus` cards and GiB on each, plain JSON.

    Raises:
        ConfigError: a backbone or card whose size is not known here, or no card.
        SupervisionError: `images` is no folder of images with prompts.
    """
    if gpu not in GPUS:
        raise ConfigError(f"--gpu: expected one of {', '.join(GPUS)}, found {gpu!r}")
    if num_gpus < 1:
        raise ConfigError(f"--num-gpus: expected 1 or more, found {num_gpus}")
    sizes = BACKBONES.get(config.backbone.name)
    if sizes is None:
        raise ConfigError(
            f"backbone.name: expected one of {', '.join(BACKBONES)}, found {config.backbone.name!r}"
        )
    stage1, _ = stage_configs(int(sizes.total), config.stage1, config.stage2)
    num_images, image_pflop, unknown = _positives(config)
    num_tuples, num_ladders, side_px = _rows(config, num_images)
    side_px = min(side_px, (config.backbone.max_pixels or 1_048_576) ** 0.5)
    image_tokens, patches = (side_px / 32) ** 2, (side_px / 16) ** 2
    speed = EFFICIENCY * GPUS[gpu][0] * 1e12

    def forward(num_suffix: int) -> float:
        tokens = image_tokens + PREFIX + num_suffix
        return 2 * sizes.language * tokens + 2 * sizes.vision * patches

    tuple_flop = (
        forward(TECHNICAL + AESTHETIC + 2 * ALIGNMENT) + forward(TECHNICAL) + forward(AESTHETIC)
    )
    ladder_flop = 6 * forward(TECHNICAL)
    steps = stage1.steps(num_tuples, num_gpus)
    forwards = steps * stage1.grad_accumulation * num_gpus
    per_forward = stage1.tuples_per_forward * tuple_flop + stage1.ladders_per_forward * ladder_flop
    passes = 3.1 if stage1.gradient_checkpointing else 2.1  # forward, backward, forward again
    every = TECHNICAL + AESTHETIC + 3 * ALIGNMENT
    cache_flop = (3 * num_tuples + 6 * num_ladders) * forward(every)
    hours = {
        "positives": num_images * image_pflop * 1e15 / speed / 3600 / num_gpus,
        "negatives": num_images * _negatives_pflop(config, image_pflop) * 1e15 / speed / 3600
        / num_gpus,
        "stage 1": forwards * per_forward * passes / speed / 3600 / num_gpus,
        "embedding cache": cache_flop / speed / 3600,
    }  # fmt: skip
    rows = 3 * stage1.tuples_per_forward + 6 * stage1.ladders_per_forward
    longest = image_tokens + PREFIX + TECHNICAL + AESTHETIC + 2 * ALIGNMENT
    memory = _memory(sizes, stage1, config.backbone.dtype, rows * longest, rows * patches)
    return {
        "gpu": f"{num_gpus} x {gpu}, {GPUS[gpu][1]} GiB",
        "num_positives": num_images,
        "num_tuples": num_tuples,
        "num_ladders": num_ladders,
        "stage1_steps": steps,
        "hours": {name: round(value, 1) for name, value in hours.items()},
        "hours_in_all": round(sum(hours.values()), 1),
        "not_counted": unknown + ["stage 2 (minutes)", "the gate", "writing the set", "evaluation"],
        "gib": {name: round(value, 1) for name, value in memory.items()},
        "gib_in_all": round(sum(memory.values()), 1),
        "fits": sum(memory.values()) < 0.95 * GPUS[gpu][1],
    }


def _positives(config: RunConfig) -> tuple[int, float, list[str]]:
    """Images, PFLOP of one, and what is not known."""
    if config.images is not None:
        number = len(read_sources(config.images, config.prompts))
        return number, 0.0, ["positives: your own"]
    models = config.positives.models
    number = len(read_prompts(config.prompts)[: config.max_prompts]) * len(models)
    known = [_image_pflop(model) for model in models if model.model in IMAGE_PFLOP]
    unknown = [f"images of {m.model}" for m in models if m.model not in IMAGE_PFLOP]
    return number, sum(known) / len(models), unknown


def _image_pflop(model: ModelSettings) -> float:
    usual = model_settings(model.model)
    if None in (model.height, model.width, usual.height, usual.width):
        return IMAGE_PFLOP[model.model]
    return IMAGE_PFLOP[model.model] * model.height * model.width / (usual.height * usual.width)


def _negatives_pflop(config: RunConfig, image_pflop: float) -> float:
    """PFLOP of generated negatives a positive."""
    if config.negatives is None:
        return 0.0
    share = config.negatives.shares
    early = sum(config.negatives.early_fractions) / len(config.negatives.early_fractions)
    full = share["degraded_prompt"] + share["degraded_look"] + share["prompt_variant"]
    edits = share["instruction_edit"] * (config.negatives.editor is not None)
    weak = [(m.height or 512) * (m.width or 512) / 512**2 for m in config.negatives.weak_models]
    weak_pflop = _WEAK_PFLOP * sum(weak) / max(len(weak), 1)
    return (full + early * share["early_decode"] + 2 * edits) * image_pflop + share[
        "weak_generator"
    ] * weak_pflop


def _rows(config: RunConfig, num_images: int) -> tuple[int, int, float]:
    if config.negatives is None:
        rows = config.supervision
        return rows.num_tuples, rows.num_ladders, float(rows.max_side_px)
    made, rows = config.negatives, config.negatives.supervision
    return (
        rows.num_tuples or made.tuples_per_positive * num_images,
        rows.num_ladders or made.ladders_per_positive * num_images,
        float(rows.max_side_px),
    )


def _memory(sizes: Sizes, stage1: Any, dtype: str, tokens: float, patches: float) -> dict:
    """GiB of one card in stage 1."""
    width = {"float32": 4, "bfloat16": 2}[dtype]
    language = 0.53 if stage1.tuning == "qlora" else width  # nf4 with its doubly packed scales
    weights = language * sizes.language + width * (sizes.embeddings + sizes.vision)
    trained = 16 * stage1.lora_rank * sizes.lora_per_rank  # weight, gradient, two moments
    in_layer = 2 * (10 * sizes.hidden + 6 * sizes.ffn)
    in_vision = 2 * (10 * sizes.vision_hidden + 6 * sizes.vision_ffn)
    if stage1.gradient_checkpointing:
        kept = 2 * sizes.hidden * sizes.layers + in_layer
        seen = 2 * sizes.vision_hidden * sizes.vision_layers + in_vision
    else:
        kept, seen = in_layer * sizes.layers, in_vision * sizes.vision_layers
    return {
        "weights": weights / GIB,
        "adapters and AdamW": trained / GIB,
        "activations": (kept * tokens + seen * patches) / GIB,
        "CUDA and torch": 1.5,
    }


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code (2: wrong input)."""
    parser = argparse.ArgumentParser(
        prog="python -m training.estimate",
        description="Estimates hours and memory of a config of training.run_all.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("--gpu", default="h100", help=f"one of {', '.join(GPUS)}")
    parser.add_argument("--num-gpus", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        known = [field.name for field in fields(RunConfig)]
        config = RunConfig.from_json(read_settings(options.config, known))
        found = estimate(config, options.gpu, options.num_gpus)
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    lines = [f"{found['gpu']}, estimated"]
    for name in ("num_positives", "num_tuples", "num_ladders", "stage1_steps"):
        lines.append(f"{found[name]:>8}  {name.removeprefix('num_').replace('_', ' ')}")
    lines += [f"{value:>8} h  {name}" for name, value in found["hours"].items()]
    lines.append(f"{found['hours_in_all']:>8} h  in all, without {', '.join(found['not_counted'])}")
    lines += [f"{value:>8} GiB  {name}" for name, value in found["gib"].items()]
    lines.append(f"{found['gib_in_all']:>8} GiB  in all, in stage 1"
                 f" ({'fits' if found['fits'] else 'does not fit'})")  # fmt: skip
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
