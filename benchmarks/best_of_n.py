"""Best of N with and without pruning: denoiser rows, decodes, the scorer's share, its memory.

    python benchmarks/best_of_n.py                     # a tiny random pipeline, no download
    python benchmarks/best_of_n.py --model stabilityai/stable-diffusion-xl-base-1.0 --steps 28 \\
        --decoder madebyollin/taesdxl --device cuda

Hardware and time: the tiny pipeline one CPU core, about a minute, 1 GB of memory.
Expect: with the default schedule and N = 8, at most 45 % of the denoiser rows, and 1 decode of 8.

The rows are counted in the denoiser's own forward, not taken from the report of the run. On the
tiny pipeline the scorer is larger than the model, so its share of the time there says nothing of a
real one; below the table stands its share of the arithmetic of real models, computed from its own
count and theirs. Shares of time for a real model are measured with --model. Without --decoder every
preview costs a full decode, which on a tiny pipeline eats up what pruning saves.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import (
    add_common_options,
    environment,
    load_scorer,
    markdown_table,
    number,
    peak_memory_mib,
    run,
    write_json,
)

PROMPT = "a red fox to the left of two blue mugs on a wooden table, soft morning light"
GATE = 0.45
# TFLOP of a step with its guidance and of a decode, and usual steps and side in px.
REAL = {
    "Stable Diffusion 1.5": (1.6, 2.5, 30, 512),
    "SDXL": (13.5, 10.5, 30, 1024),
    "FLUX.1": (74.4, 10.5, 28, 1024),
}


def main(argv: list[str] | None = None, *, scorer=None) -> dict:
    """Runs the benchmark and returns what `--json` writes. ``scorer`` replaces the loaded one."""
    arguments = _parser().parse_args(argv)
    result = measure(arguments, scorer)
    report(result)
    write_json(arguments.json, result)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_common_options(parser)
    parser.add_argument("--model", help="hub id or directory; without it a tiny random pipeline")
    parser.add_argument("--decoder", help="hub id of an AutoencoderTiny for previews")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default=None, help="of a real model; bfloat16 off the CPU")
    parser.add_argument("-n", type=int, default=8)
    parser.add_argument("--steps", type=int, default=None, help="20, or 4 with --smoke")
    parser.add_argument("--size", type=int, default=None, metavar="PX")
    parser.add_argument("--trial", action="store_true", help="also: can previews be trusted?")
    return parser


def measure(arguments: argparse.Namespace, scorer: Any = None) -> dict:
    import diffusers

    from eliq.diffusion import PruneSchedule, best_of_n

    pipe, call = load_pipeline(arguments)
    steps = arguments.steps or (4 if arguments.smoke else 20)
    call = {**call, "num_inference_steps": steps}
    decoder = None
    if arguments.decoder:
        kind = diffusers.AutoencoderTiny
        decoder = kind.from_pretrained(arguments.decoder, torch_dtype=pipe.vae.dtype)
        decoder = decoder.to(arguments.device)

    def measured(critic: Any, **options: Any) -> dict:
        timed = TimedScorer(critic)
        with counted(pipe) as counts:
            start = time.perf_counter()
            found = best_of_n(
                pipe, PROMPT, n=arguments.n, scorer=timed, progress=False, **options, **call
            )
            synchronise()
            total_s = time.perf_counter() - start
        savings = found.savings or {}
        return {
            "rows": counts["rows"],
            "decodes": savings.get("decodes", arguments.n),
            "previews": savings.get("previews", 0),
            "method": savings.get("method"),
            "total_s": total_s,
            "scorer_s": timed.seconds,
            "scorer_share": timed.seconds / total_s,
            "best_seed": found.best.seed,
            "preview_rank": found.preview_rank,
        }

    measured(ConstantScorer())  # allocates what the pipeline itself needs, in every run the same
    before = memory_mib(arguments.device)
    scorer = scorer or load_scorer(arguments.checkpoint, device=arguments.device)
    loaded = memory_mib(arguments.device)
    runs = {"all, then score": measured(scorer)}
    after = memory_mib(arguments.device)
    pruned: dict[str, Any] = {"prune": PruneSchedule(), "decoder": decoder}
    runs["pruned, one batch"] = measured(scorer, **pruned)
    runs["pruned, paused calls"] = measured(scorer, batch_size=1, **pruned)
    if arguments.trial:
        trial = {**pruned, "prune": PruneSchedule(trial=True)}
        runs["trial: nothing dropped"] = measured(scorer, **trial)
    unpruned = runs["all, then score"]["rows"]
    for row in runs.values():
        row["row_share"] = row["rows"] / unpruned
    size_px = call.get("height")
    return {
        "benchmark": "best_of_n",
        "environment": {**environment(), "diffusers": diffusers.__version__},
        "pipeline": arguments.model or "tiny random pipeline",
        "pipeline_class": type(pipe).__name__,
        "device": arguments.device,
        "n": arguments.n,
        "steps": steps,
        "size_px": size_px,
        "runs": runs,
        "scorer_memory_mib": {
            "weights": weights_mib(scorer),
            "peak when loaded": loaded - before,
            "peak after scoring": after - before,
        },
        "scorer_tflop": scorer_tflop(scorer, (64,) if arguments.smoke else (512, 1024)),
    }


def load_pipeline(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The pipeline and the arguments of its call."""
    import torch
    from diffusers import DiffusionPipeline

    side = arguments.size or (None if arguments.model else 64 if arguments.smoke else 256)
    size = {"height": side, "width": side} if side else {}
    if not arguments.model:
        pipe, call = tiny_pipeline()
        return pipe.to(arguments.device), {**size, **call}
    default = "float32" if arguments.device == "cpu" else "bfloat16"
    dtype = getattr(torch, arguments.dtype or default)
    pipe = DiffusionPipeline.from_pretrained(arguments.model, torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(arguments.device), size


def tiny_pipeline() -> tuple[Any, dict[str, Any]]:
    """Stable Diffusion 3 in small, random weights; embeddings stand in for its text encoders."""
    import torch
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = SD3Transformer2DModel(
            sample_size=32, patch_size=2, in_channels=4, out_channels=4, num_layers=2,
            attention_head_dim=16, num_attention_heads=4, joint_attention_dim=32,
            caption_projection_dim=64, pooled_projection_dim=32, pos_embed_max_size=64,
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 16, 16), latent_channels=4, norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            shift_factor=0.0,
        )  # fmt: skip
        embeds = {
            "prompt_embeds": torch.randn(1, 16, 32),
            "pooled_prompt_embeds": torch.randn(1, 32),
            "negative_prompt_embeds": torch.randn(1, 16, 32),
            "negative_pooled_prompt_embeds": torch.randn(1, 32),
        }
    parts = dict.fromkeys(
        ("text_encoder", "text_encoder_2", "text_encoder_3",
         "tokenizer", "tokenizer_2", "tokenizer_3")
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler()
    pipe = StableDiffusion3Pipeline(
        transformer=transformer.eval(), vae=vae.eval(), scheduler=scheduler, **parts
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe, embeds


class TimedScorer:
    """A scorer and the seconds that it takes."""

    def __init__(self, scorer: Any) -> None:
        self.scorer, self.seconds = scorer, 0.0

    def score(self, images: Any, prompts: Any) -> Any:
        synchronise()
        start = time.perf_counter()
        scores = self.scorer.score(images, prompts)
        synchronise()
        self.seconds += time.perf_counter() - start
        return scores


class ConstantScorer:
    """Every image is as good as any other, at no cost."""

    def score(self, images: Any, prompts: Any) -> Any:
        column = [0.5] * len(images)
        return SimpleNamespace(visual_quality=column, alignment=column)


@contextmanager
def counted(pipe: Any) -> Iterator[dict[str, int]]:
    """Rows that reach the denoiser's own forward."""
    denoiser = getattr(pipe, "transformer", None) or pipe.unet
    counts, forward, had = {"rows": 0}, denoiser.forward, "forward" in vars(denoiser)

    def counting(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else kwargs.get("hidden_states", kwargs.get("sample"))
        counts["rows"] += len(first)
        return forward(*args, **kwargs)

    denoiser.forward = counting
    try:
        yield counts
    finally:
        del denoiser.forward
        if had:
            denoiser.forward = forward


def synchronise() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def memory_mib(device: str) -> float:
    """Most memory held so far: of the GPU, or of this process."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / (1 << 20)
    return peak_memory_mib()


def weights_mib(scorer: Any) -> float:
    parts = [scorer.backbone, *([scorer.head] if scorer.head is not None else [])]
    tensors = [tensor for part in parts for tensor in part.parameters()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / (1 << 20)


def scorer_tflop(scorer: Any, sizes_px: tuple[int, ...]) -> dict[int, float]:
    """TFLOP of one image with a prompt, by its side."""
    import torch

    from benchmarks.packing import count_flop

    device = scorer.backbone.device
    return {
        side: count_flop(
            lambda side=side: scorer.score([torch.rand(3, side, side, device=device)], [PROMPT])
        )[1]
        / 1e12
        for side in sizes_px
    }


def report(result: dict) -> None:
    side = f", {result['size_px']} px" if result["size_px"] else ""
    print(
        f"{result['pipeline']} ({result['pipeline_class']}), {result['device']}, "
        f"N = {result['n']}, {result['steps']} steps{side}\n"
    )
    header = ["run", "denoiser rows", "share", "decodes", "previews", "total s", "scorer s",
              "scorer share"]  # fmt: skip
    rows = [
        [
            name,
            row["rows"],
            f"{100 * row['row_share']:.1f} %",
            row["decodes"],
            row["previews"],
            number(row["total_s"]),
            number(row["scorer_s"]),
            f"{100 * row['scorer_share']:.1f} %",
        ]
        for name, row in result["runs"].items()
    ]
    print(markdown_table(header, rows))
    pruned = result["runs"]["pruned, one batch"]["row_share"]
    verdict = "met" if pruned <= GATE else "not met"
    print(f"\npruned denoiser rows: {100 * pruned:.1f} % (gate {GATE:.0%}: {verdict})")
    memory = ", ".join(f"{n} {number(m, 1)} MiB" for n, m in result["scorer_memory_mib"].items())
    print(f"memory added by the scorer: {memory}")
    for name, (step, decode, steps, side_px) in REAL.items():
        tflop = result["scorer_tflop"].get(side_px)
        if tflop is not None:
            share = tflop / (tflop + step * steps + decode)
            print(
                f"computed, not measured: of an image of {name} ({steps} steps, {side_px} px) "
                f"the scorer is {100 * share:.2g} % of the FLOP"
            )
    trial = result["runs"].get("trial: nothing dropped")
    if trial is not None:
        for cut in trial["preview_rank"]["cuts"]:
            found = cut["final"]["srcc"]
            print(
                f"previews at {cut['fraction']:.0%} against final images: SRCC "
                f"{number(found if found is not None else float('nan'))}"
            )
        print(f"the best image would have been kept: {trial['preview_rank']['best_survives']}")


if __name__ == "__main__":
    run(main)
