"""A step of the embedded critic's pretraining: in bfloat16, in float32, and which one is taken.

    python benchmarks/training_precision.py

Hardware and time: one CPU core, two minutes. Expect: what `training.precision` takes on this CPU
(bfloat16 where it has units for it, else float32) is the quicker one: a ratio above 1.

Both train the same backbone on the same batches, one of severity ladders and one of scenes with
prompts, in turns; the optimizer's step (Muon, AdamW) is in the time.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import (
    environment,
    interleaved_seconds,
    markdown_table,
    median,
    number,
    run,
    write_json,
)


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what `--json` writes."""
    arguments = _parser().parse_args(argv)
    import torch

    from training.precision import has_bfloat16_units

    num_threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        rows = [measure(kind, arguments) for kind in ("ladders", "scenes")]
        machine = environment()
    finally:
        torch.set_num_threads(num_threads)
    taken, other = ("bfloat16", "float32")[:: 1 if has_bfloat16_units() else -1]
    for row in rows:
        row["ratio"] = row[f"{other}_ms"] / row[f"{taken}_ms"]
    table = [
        [row["batch"], number(row["bfloat16_ms"]), number(row["float32_ms"]), taken,
         f"{row['ratio']:.2f}x"]
        for row in rows
    ]  # fmt: skip
    header = ("batch", "bfloat16, ms a step", "float32, ms a step", "taken", "other / taken")
    print(markdown_table(header, table))
    result = {
        "benchmark": "training_precision", "environment": machine, "taken": taken, "rows": rows,
    }  # fmt: skip
    write_json(arguments.json, result)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--smoke", action="store_true", help="tiny batches, to see that it runs")
    return parser


def measure(kind: str, arguments: argparse.Namespace) -> dict:
    """Milliseconds of a training step on one batch of this kind in either precision."""
    from training.embedded.attention import use_matmul_attention
    from training.embedded.batches import BatchMaker
    from training.embedded.model import make_backbone
    from training.embedded.pretrain import (
        LEVELS,
        PretrainConfig,
        learning_rates,
        make_optimizers,
        make_tokenizer,
        new_model,
        training_step,
    )

    size_px = 96 if arguments.smoke else 192
    backbone = make_backbone(make_tokenizer(), seed=0)
    model = new_model(backbone).train()
    use_matmul_attention(backbone.model)
    optimizers = make_optimizers(model, PretrainConfig(seed=0))
    bases = learning_rates(optimizers)
    maker = BatchMaker(
        backbone.layout, backbone.patches, seed=0,
        alignment_rows=2 if arguments.smoke else 16, ladders=1 if arguments.smoke else 4,
    )  # fmt: skip
    level = replace(
        LEVELS[-1], ladder_share=float(kind == "ladders"), ladder_px=(size_px,),
        alignment_px=(size_px,), photographed=0.0,
    )  # fmt: skip
    batch = maker.make(0, level)

    def stepping(in_bfloat16: bool):
        def call() -> None:
            with (
                patch("training.precision.has_bfloat16_units", return_value=in_bfloat16),
                patch("training.muon.has_bfloat16_units", return_value=in_bfloat16),
            ):
                training_step(model, optimizers, bases, 0.0, batch)

        return call

    seconds = interleaved_seconds(
        {"bfloat16": stepping(True), "float32": stepping(False)},
        1 if arguments.smoke else arguments.repeats,
    )
    return {"batch": kind} | {f"{way}_ms": 1e3 * median(times) for way, times in seconds.items()}


if __name__ == "__main__":
    run(main)
