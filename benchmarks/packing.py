"""One packed pass against three separate ones: time, FLOP, and whether they agree.

    python benchmarks/packing.py
    python benchmarks/packing.py --checkpoint DIR --sizes 512     # the backbone of a checkpoint

Hardware and time: 2 CPU cores, about 3 minutes; 2 GB of memory.
Expect: packed is >= 2.0 times faster at 512 px and >= 2.4 times at 1024 px.

By default the model is a Qwen3-VL of about 120M parameters with random weights: the proportions of
the 8B's language model, and a vision tower whose share of the work is near its own. Separate
passes are those of the library's slow path: the model's own causal attention and positions, the
image encoded anew for each question. Both run on the same model, in turns, in this one process;
preprocessing is in both. Differences are relative to the root mean square of the embeddings.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import (
    add_common_options,
    environment,
    interleaved_seconds,
    load_scorer,
    markdown_table,
    median,
    number,
    random_backbone,
    run,
    write_json,
)

PROMPT = "a red fox to the left of two blue mugs on a wooden table, soft morning light"
# hidden, ffn, layers, heads, key-value heads; hidden, ffn, layers, heads
# As in Qwen3-VL: ffn of three times the width, heads of 128, four query heads a key-value head.
DEFAULT = ((1024, 3072, 9, 8, 2), (256, 1024, 6, 4))
SMOKE = ((64, 128, 2, 2, 1), (64, 128, 2, 2))
GATES = {512: 2.0, 1024: 2.4}


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what `--json` writes."""
    arguments = _parser().parse_args(argv)
    import torch

    if arguments.checkpoint:
        backbone = load_scorer(arguments.checkpoint, device=arguments.device).backbone
    else:
        backbone = random_backbone(*(SMOKE if arguments.smoke else DEFAULT), PROMPT)
        backbone = backbone.to(arguments.device)
    if not backbone.is_packed:
        sys.exit("this backbone takes the slow path: there is nothing to compare")
    num_parameters = sum(parameter.numel() for parameter in backbone.parameters())
    sizes = arguments.sizes or ([64] if arguments.smoke else [256, 512, 768, 1024])
    repeats = 1 if arguments.smoke else arguments.repeats
    rows = []
    for size_px in sizes:
        torch.manual_seed(size_px)
        image = torch.rand(3, size_px, size_px, device=arguments.device)
        rows.append(compare(backbone, image, repeats))
        print(f"{size_px} px done", file=sys.stderr)
    result = {
        "benchmark": "packing",
        "environment": environment(),
        "num_parameters": num_parameters,
        "dtype": str(backbone.dtype).removeprefix("torch."),
        "device": arguments.device,
        "repeats": repeats,
        "sizes": rows,
    }
    report(result)
    write_json(arguments.json, result)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_common_options(parser)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="PX", help="256 512 768 1024")
    parser.add_argument("--repeats", type=int, default=3)
    return parser


def compare(backbone, image, repeats: int) -> dict:
    """One image both ways: seconds, FLOP, tokens, largest difference."""
    import torch

    def packed():
        backbone.is_packed = True
        return backbone.embed([image], [PROMPT])

    def separate():
        backbone.is_packed = False  # the slow path, on the very same weights
        try:
            return backbone.embed([image], [PROMPT])
        finally:
            backbone.is_packed = True

    # Counting runs both once, which is also their warm-up.
    (one, packed_flop), (three, separate_flop) = count_flop(packed), count_flop(separate)
    rms = torch.stack([three.technical, three.aesthetic, three.alignment]).square().mean().sqrt()
    difference = max(
        float((getattr(one, name) - getattr(three, name)).abs().max() / rms)
        for name in ("technical", "aesthetic", "alignment")
    )
    seconds = interleaved_seconds({"packed": packed, "separate": separate}, repeats)
    size_px = image.shape[-1]
    suffixes = [len(ids) for ids in backbone.layout.suffixes(PROMPT)]
    return {
        "size_px": size_px,
        "image_tokens": backbone.num_tokens(size_px, size_px),
        "suffix_tokens": suffixes,
        "seconds": seconds,
        "packed_s": median(seconds["packed"]),
        "separate_s": median(seconds["separate"]),
        "time_ratio": median(seconds["separate"]) / median(seconds["packed"]),
        "packed_tflop": packed_flop / 1e12,
        "separate_tflop": separate_flop / 1e12,
        "flop_ratio": separate_flop / packed_flop,
        "max_relative_difference": difference,
    }


def count_flop(function) -> tuple[Any, int]:
    """What the function returns, and its FLOP.

    Multiplications and additions of matrix products, convolutions and attention, counted by torch
    as the operators are called; attention is counted as if nothing were masked, in both forms.
    """
    import torch
    from torch.utils.flop_counter import (
        FlopCounterMode,
        sdpa_backward_flop_count,
        sdpa_flop_count,
    )

    def attention(query, key, value, *args, out_shape=None, **kwargs) -> int:
        return sdpa_flop_count(query, key, value)

    def backward(gradient, query, key, value, *args, out_shape=None, **kwargs) -> int:
        return sdpa_backward_flop_count(gradient, query, key, value)

    # torch counts the fused attention of accelerators, and forgets that of the CPU.
    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    back = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    counted = {on_cpu: attention, back: backward}
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        result = function()
    return result, counter.get_total_flops()


def report(result: dict) -> None:
    print(
        f"{result['num_parameters'] / 1e6:.1f}M parameters, {result['dtype']}, "
        f"{result['device']}, {result['environment']['threads']} threads, "
        f"median of {result['repeats']} in turns\n"
    )
    header = ["px", "image tokens", "packed s", "3 passes s", "time ratio",
              "packed TFLOP", "3 passes TFLOP", "FLOP ratio", "largest difference"]  # fmt: skip
    rows = [
        [
            row["size_px"],
            row["image_tokens"],
            number(row["packed_s"], 3),
            number(row["separate_s"], 3),
            number(row["time_ratio"]),
            number(row["packed_tflop"], 4),
            number(row["separate_tflop"], 4),
            number(row["flop_ratio"]),
            f"{row['max_relative_difference']:.1e}",
        ]
        for row in result["sizes"]
    ]
    print(markdown_table(header, rows))
    for row in result["sizes"]:
        gate = GATES.get(row["size_px"])
        if gate is not None and result["num_parameters"] >= 100e6:
            verdict = "met" if row["time_ratio"] >= gate else "not met"
            print(f"{row['size_px']} px: {row['time_ratio']:.2f}x (gate {gate}: {verdict})")


if __name__ == "__main__":
    run(main)
