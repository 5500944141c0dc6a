"""Every stage of the training at the size of a test, as a function that resumes in its folder.

Each run is what the command of that stage does, in the current process, with inputs made once by
`prepare`. `grows` names files that a stage appends to or draws anew as it goes on; `not_compared`
what may differ between a broken and an unbroken run (logs of work done, times).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["STAGES", "Stage", "prepare"]

STAGE1 = {
    "num_steps": 24,
    "tuples_per_forward": 2,
    "ladders_per_forward": 1,
    "grad_accumulation": 2,
    "tuning": "lora",
    "lora_rank": 4,
    "learning_rate": 1e-3,
    "precision": "float32",
    "validate_every": 4,
    "max_validation_rows": 4,
    "save_every": 3,
}
STAGE2 = {
    "num_steps": 120,
    "learning_rate": 1e-3,
    "model_dim": 32,
    "num_heads": 4,
    "ffn_dim": 64,
    "validate_every": 10,
    "save_every": 7,
    "patience": 100,
}
HELD_OUT = 0.3


@dataclass(frozen=True)
class Stage:
    """`run(inputs, out)` starts the stage or goes on with it; patterns as in `fnmatch`."""

    run: Callable[[Path, Path], None]
    grows: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()


def prepare(inputs: Path) -> None:
    """What each stage reads, made by the stages before it."""
    from tests.tiny_supervision import write_set
    from training.evaluation.smoke_set import write_smoke_set

    write_set(inputs / "tiny_set", num_sources=12)
    write_set(inputs / "new_set", num_sources=8, seed=1)
    _positives(inputs, inputs / "positives")
    _cache(inputs, inputs / "cache")
    _stage2(inputs, inputs / "stage2")
    _export(inputs, inputs / "exported")
    write_smoke_set(inputs / "rated")


def _command(module: str, *arguments: object) -> None:
    import importlib

    code = importlib.import_module(f"training.{module}").main([str(a) for a in arguments])
    if code:
        raise RuntimeError(f"training.{module} ended with {code}")


def _positives(inputs: Path, out: Path) -> None:
    _command("make_positives", "--smoke", "--quiet", "--out", out, "--max-prompts", 3)


def _negatives(inputs: Path, out: Path) -> None:
    _command("make_negatives", inputs / "positives", "--smoke", "--quiet", "--out", out)


def _supervision(inputs: Path, out: Path) -> None:
    from eliq.supervision import SupervisionConfig, build_supervision

    config = SupervisionConfig(num_tuples=16, num_ladders=6, max_side_px=128)
    build_supervision(inputs / "positives", out, config)


def _sides(inputs: Path):
    from training.dataset import read_supervision

    return read_supervision(inputs / "tiny_set").split(HELD_OUT)


def _stage1(inputs: Path, out: Path) -> None:
    from safetensors.torch import save_file

    from training.stage1 import Stage1Config, train_stage1
    from training.tiny_backbone import tiny_backbone

    backbone = tiny_backbone()
    sides = _sides(inputs)
    result = train_stage1(backbone, *sides, Stage1Config(**STAGE1), out, progress=False)
    tuned = {name: t.clone() for name, t in backbone.model.state_dict().items()}
    (out / "result.json").write_text(json.dumps([result.best_step, result.validation]))
    save_file(tuned, str(out / "tuned.safetensors"))


def _frozen():
    from training.export import freeze_critic
    from training.tiny_backbone import tiny_backbone

    return freeze_critic(tiny_backbone())


def _cache(inputs: Path, out: Path) -> None:
    from training.embedding_cache import build_cache

    train, held_out = _sides(inputs)
    build_cache(_frozen(), train + held_out, out, rows_per_shard=2, progress=False)


def _embedded_sides(inputs: Path):
    from training.embedding_cache import load_cache

    train, held_out = _sides(inputs)
    cache = load_cache(inputs / "cache", train + held_out)
    return cache.select(train), cache.select(held_out)


def _stage2(inputs: Path, out: Path) -> None:
    from safetensors.torch import save_file

    from training.stage2 import Stage2Config, train_stage2

    config = Stage2Config(**STAGE2)
    result = train_stage2(*_embedded_sides(inputs), config, out, progress=False)
    (out / "result.json").write_text(json.dumps([result.best_step, result.validation]))
    save_file(result.head.state_dict(), str(out / "head.safetensors"))


def _export(inputs: Path, out: Path) -> None:
    from safetensors.torch import load_file

    from eliq import Scorer
    from eliq.head import ScoringHead
    from training.calibrate import calibrate
    from training.export import export_critic
    from training.stage2 import Stage2Config

    sides = _embedded_sides(inputs)
    head = ScoringHead(Stage2Config(**STAGE2).head(sides[0].hidden_size)).eval()
    head.load_state_dict(load_file(str(inputs / "stage2" / "head.safetensors")))
    calibration, facts = calibrate(head, sides[1])
    export_critic(out / "critic", _frozen(), head, calibration, facts)
    Scorer.from_pretrained(out / "critic", device="cpu")


def _evaluation(inputs: Path, out: Path) -> None:
    _command(
        "evaluate", "--set", f"csv={inputs / 'rated' / 'ratings.csv'}", "--out", out,
        "--checkpoint", inputs / "exported" / "critic", "--no-zero-shot", "--quiet",
        "--device", "cpu",
    )  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    (out / "rounded.json").write_text(json.dumps(_rounded(report), indent=1))


def _rounded(value):
    """Every float of a report to six digits: the fit of the curve repeats to about twelve."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _weak_supervision(inputs: Path, out: Path) -> None:
    _command(
        "weak_supervision", "csv", inputs / "rated" / "ratings.csv", "--out", out, "--quiet",
        "--critic", inputs / "exported" / "critic", "--share", 0.5, "--splits", 2,
        "--device", "cpu",
    )  # fmt: skip


def _refresh(inputs: Path, out: Path) -> None:
    settings = {1: STAGE1 | {"num_steps": 8, "tuning": "full"}, 2: STAGE2 | {"num_steps": 30}}
    _command(
        "refresh", inputs / "new_set", "--critic", inputs / "exported" / "critic", "--out", out,
        "--set", inputs / "tiny_set", "--num-anchors", 2, "--num-new-anchors", 2,
        "--held-out-share", HELD_OUT, "--device", "cpu", "--quiet",
        "--stage1", *(f"{key}={value}" for key, value in settings[1].items()),
        "--stage2", *(f"{key}={value}" for key, value in settings[2].items()),
    )  # fmt: skip


def _whole_run(inputs: Path, out: Path) -> None:
    _command("run_all", "--smoke", "--quiet", "--device", "cpu", "--out", out)


STAGES = {
    "positives": Stage(_positives, grows=("*.jsonl",)),
    "negatives": Stage(_negatives, grows=("*.jsonl", "*.json")),
    "supervision": Stage(_supervision, grows=("*.jsonl", "*.json")),
    # Steps since the last save are made again, and the best of them with them.
    "stage 1": Stage(_stage1, grows=("metrics.jsonl", "curves.png", "best/*")),
    "embedding cache": Stage(_cache),
    "stage 2": Stage(_stage2, grows=("metrics.jsonl", "curves.png", "best/*")),
    "calibration and export": Stage(_export, grows=("*",)),
    "evaluation": Stage(
        _evaluation,
        grows=("*.md", "*.json", "*.jsonl", "*.png"),
        # The scores are compared whole, and what is computed from them in `rounded.json`.
        not_compared=("report.json", "report.md", "*.png"),
    ),
    "weak supervision": Stage(_weak_supervision, grows=("*.json", "critic/*")),
    "refresh": Stage(
        _refresh,
        grows=("*.json", "*.jsonl", "*.png", "critic/*", "stage1/*", "stage2/*"),
        not_compared=("scores/*", "drift.html"),  # they hold the time of a file, and its path
    ),
    "whole run": Stage(
        _whole_run,
        grows=("*.json", "*.jsonl", "critic/*", "stage1/*", "stage2/*"),
        # Paths of the run, times of its steps and of the rated pictures; the random state of the
        # process, from which no stage draws and which depends on what ran in it before.
        not_compared=(
            "run.json",
            "config.json",
            "rated/*",
            ".rated*",
            "evaluation/*",
            "stage?/*random.safetensors",
        ),  # fmt: skip
    ),
}
