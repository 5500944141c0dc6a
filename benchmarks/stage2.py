"""Stage 2 on 1,200 cached tuples, from nothing to its early stop.

    python benchmarks/stage2.py
    python benchmarks/stage2.py --hidden-size 4096 --ladders 0

Hardware and time: 2 CPU cores, about 2 minutes; 2 GB of memory.
Expect: with the default settings of stage 2, <= 60 s at the width of the embedded critic.

The embeddings are made, not a backbone's: a random direction an aspect along which negatives and
ladders lie lower by a random amount, beside content and noise that are larger. What the run costs
depends on their width and number alone, and on how soon the held-out loss stops falling, which is
why the seconds of one step stand beside those of the run. Written to disk as in a real run:
checkpoints, metrics and curves.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import environment, markdown_table, number, run, write_json

GATE_S, GATED_TUPLES = 60.0, 1200
WIDTHS = (192, 2048)  # the embedded critic's, Qwen3-VL-2B's


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what `--json` writes."""
    arguments = _parser().parse_args(argv)
    import torch

    from training.stage2 import Stage2Config, train_stage2

    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    num_tuples = 24 if arguments.smoke else GATED_TUPLES
    num_ladders = 4 if arguments.smoke else arguments.ladders
    settings = {"num_steps": 4, "validate_every": 2} if arguments.smoke else {}
    settings |= {"model_dim": 16, "num_heads": 2, "ffn_dim": 32} if arguments.smoke else {}
    config = Stage2Config(**settings)
    rows = []
    for width in arguments.hidden_size or ([32] if arguments.smoke else WIDTHS):
        train = made_cache(num_tuples, num_ladders, width, seed=0)
        held_out = made_cache(num_tuples // 10, num_ladders // 10, width, seed=1)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            result = train_stage2(train, held_out, config, folder, progress=not arguments.smoke)
            seconds = time.perf_counter() - start
        rows.append(
            {
                "hidden_size": width,
                "num_parameters": sum(p.numel() for p in result.head.parameters()),
                "num_steps": result.steps,
                "best_step": result.best_step,
                "seconds": seconds,
                "step_s": seconds / result.steps,
                "validation": {k: v for k, v in result.validation.items() if "/" not in k},
            }
        )
    report_rows(rows, num_tuples, num_ladders, torch.get_num_threads())
    result = {
        "benchmark": "stage2",
        "environment": environment(),
        "num_tuples": num_tuples,
        "num_ladders": num_ladders,
        "config": config.to_json(),
        "rows": rows,
    }
    write_json(arguments.json, result)
    return result


def made_cache(num_tuples: int, num_ladders: int, width: int, *, seed: int, steps: int = 5):
    """An embedding cache of random content in which the right order can be learnt."""
    import torch

    from training.embedding_cache import EmbeddingCache

    common = torch.Generator().manual_seed(7)  # the same directions in training and held out
    directions = torch.nn.functional.normalize(
        torch.randn(3, width, generator=common), dim=-1
    )  # [3,h]: technical, aesthetic, alignment
    generator = torch.Generator().manual_seed(100 + seed)

    def lowered(shape: tuple[int, ...], aspect: int, amounts):
        noise = torch.randn(*shape, width, generator=generator) / width**0.5
        return noise + amounts[..., None] * directions[aspect]

    def amounts(*shape: int):
        return -torch.rand(shape, generator=generator)

    def zeros(*shape: int):
        return torch.zeros(shape)

    n, m, s = num_tuples, num_ladders, steps + 1
    content = torch.randn(n, 1, width, generator=generator) / width**0.5
    technical, aesthetic = zeros(n, 3), zeros(n, 3)
    technical[:, 1], aesthetic[:, 2] = amounts(n), amounts(n)
    alignment = zeros(n, 3, 3)
    alignment[:, :, 1] = amounts(n, 1)
    severity = torch.linspace(0, -1, s).expand(m, s)
    rungs = torch.randn(m, 1, width, generator=generator) / width**0.5
    return EmbeddingCache(
        tuple_technical=content + lowered((n, 3), 0, technical),
        tuple_aesthetic=content + lowered((n, 3), 1, aesthetic),
        tuple_alignment=content[:, :, None] + lowered((n, 3, 3), 2, alignment),
        tuple_margins=zeros(n, 3, 5),
        ladder_technical=rungs + lowered((m, s), 0, severity),
        ladder_aesthetic=rungs + lowered((m, s), 1, zeros(m, s)),
        ladder_alignment=rungs[:, :, None] + lowered((m, s, 3), 2, zeros(m, s, 3)),
        ladder_margins=zeros(m, s, 5),
        ladder_valid=torch.ones(m, s, dtype=torch.bool),
        tuple_ids=tuple(f"t{i}" for i in range(n)),
        ladder_ids=tuple(f"l{i}" for i in range(m)),
        tuple_kinds=(("noise", "dark", "shuffle"),) * n,
    )


def report_rows(rows: list[dict], num_tuples: int, num_ladders: int, threads: int) -> None:
    print(f"{num_tuples} tuples, {num_ladders} ladders, {threads} threads\n")
    header = ["width", "head", "steps", "best", "s a step", "seconds", "technical", "aesthetic",
              "alignment"]  # fmt: skip
    table = [
        [
            row["hidden_size"],
            f"{row['num_parameters'] / 1e6:.1f}M",
            row["num_steps"],
            row["best_step"],
            number(row["step_s"], 3),
            number(row["seconds"], 1),
            *(number(row["validation"][a]) for a in ("technical", "aesthetic", "alignment")),
        ]
        for row in rows
    ]
    print(markdown_table(header, table))
    if num_tuples == GATED_TUPLES:
        first = rows[0]
        verdict = "met" if first["seconds"] <= GATE_S else "not met"
        print(
            f"width {first['hidden_size']}: {first['seconds']:.1f} s (gate {GATE_S:.0f}: {verdict})"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hidden-size", nargs="+", type=int, metavar="H", help="192 2048")
    parser.add_argument("--ladders", type=int, default=0, help="beside the tuples (default 0)")
    parser.add_argument("--threads", type=int, help="default: those of torch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number there")
    parser.add_argument("--smoke", action="store_true", help="smallest run, for the tests")
    return parser


if __name__ == "__main__":
    run(main)
