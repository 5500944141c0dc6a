"""A training step of stage 1 with three questions a forward, against one question a forward.

    python benchmarks/stage1.py
    python benchmarks/stage1.py --checkpoint DIR --device cuda --sizes 512 1024

Hardware and time: 2 CPU cores, about 2 minutes; 3 GB of memory.
Expect: at 512 px the packed step is >= 2.2 times faster and takes >= 2.2 times fewer FLOP.

A step is what `training.stage1` does: images to patches, forward, Eq. 5 on the three answers of
each image, backward into LoRA adapters, AdamW. Its slower forms ask one question of every image,
go backward, and so on three times before AdamW: "one question" on the same packed code with one
suffix, "plain causal" through the model's own mask and positions, one row at a time; the faster of
the two counts. All on the same model and images, in turns, in this one process. By default a
Qwen3-VL of about 120M random parameters in the proportions of the 8B. The gradients of both forms
are compared as well: packing changes the cost of a step, not the step.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

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
from benchmarks.packing import DEFAULT, PROMPT, SMOKE, count_flop

GATE, GATED_PX, GATED_PARAMETERS = 2.2, 512, 100e6
ASPECTS = ("technical", "aesthetic", "alignment")


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
    steps = Steps(backbone, checkpointing=arguments.gradient_checkpointing)
    rows = []
    for size_px in arguments.sizes or ([64] if arguments.smoke else [256, 512]):
        torch.manual_seed(size_px)
        images = [
            torch.rand(3, size_px, size_px, device=arguments.device)
            for _ in range(arguments.images)
        ]
        rows.append(compare(steps, images, 1 if arguments.smoke else arguments.repeats))
        print(f"{size_px} px done", file=sys.stderr)
    result = {
        "benchmark": "stage1",
        "environment": environment(),
        "num_parameters": num_parameters,
        "num_trained": steps.num_trained,
        "gradient_checkpointing": arguments.gradient_checkpointing,
        "device": arguments.device,
        "images": arguments.images,
        "repeats": arguments.repeats,
        "sizes": rows,
    }
    report(result)
    write_json(arguments.json, result)
    return result


class Steps:
    """The forms of one training step, on one backbone with adapters."""

    def __init__(self, backbone, *, checkpointing: bool) -> None:
        import torch

        from training.optimizers import build_optimizers
        from training.stage1_config import Stage1Config
        from training.tuning import prepare

        self.config = Stage1Config(
            lora_dropout=0.0,  # or the gradients of the forms could not be compared
            precision="float32",
            gradient_checkpointing=checkpointing,
        )
        self.asking = prepare(backbone, self.config).train()
        trained = [p for p in self.asking.parameters() if p.requires_grad]
        self.num_trained = sum(p.numel() for p in trained)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():  # B is 0 at first, and so would be every gradient of A
            for parameter in trained:
                noise = torch.randn(parameter.shape, generator=generator) * 0.01
                parameter.add_(noise.to(parameter.device))
        self.optimizers = build_optimizers(
            self.asking, kind="adamw", learning_rate=1e-5, weight_decay=0.01
        )

    def packed(self, images, *, update: bool = True) -> None:
        """Three questions of each image in one forward."""
        self._backward(images, list(ASPECTS), 1.0)
        self._update(update)

    def one_question(self, images, *, update: bool = True) -> None:
        """One question of each image in each of three forwards."""
        for aspect in ASPECTS:
            self._backward(images, [aspect], 1 / len(ASPECTS))
        self._update(update)

    def plain_causal(self, images, *, update: bool = True) -> None:
        """The same without packing: the model's own causal pass."""
        self.asking.backbone.is_packed = False
        try:
            self.one_question(images, update=update)
        finally:
            self.asking.backbone.is_packed = True

    def gradients(self, step, images):
        """All gradients of one step as one vector."""
        import torch

        step(images, update=False)
        trained = [p for p in self.asking.parameters() if p.requires_grad]
        vector = torch.cat([p.grad.flatten() for p in trained])
        self._zero()
        return vector

    def _backward(self, images, aspects: list[str], share: float) -> None:
        import torch

        from training.asking import Question
        from training.stage1 import stage1_loss
        from training.stage1_batches import HIGH, LOW, MicroBatch

        asked = [Question(a, PROMPT if a == "alignment" else None) for a in aspects]
        labels = torch.tensor([LOW if a == "alignment" else HIGH for a in aspects] * len(images))
        none = torch.zeros(0, 6, dtype=torch.int64)
        batch = MicroBatch(images, [asked] * len(images), labels, none, none[:, :1])
        layout = self.asking.backbone.layout
        answers = self.asking(images, batch.questions, labels >= 0)
        ids = torch.tensor([layout.low_id, layout.high_id], device=answers.margins.device)
        (stage1_loss(answers, batch, ids, self.config)[0] * share).backward()

    def _update(self, update: bool) -> None:
        if update:
            for optimizer in self.optimizers.values():
                optimizer.step()
            self._zero()

    def _zero(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)


def compare(steps: Steps, images, repeats: int) -> dict:
    """One size: seconds and FLOP of each form, and how far their gradients are apart."""
    forms = {"packed": steps.packed, "one_question": steps.one_question,
             "plain_causal": steps.plain_causal}  # fmt: skip
    reference = steps.gradients(steps.plain_causal, images)
    differences = {
        name: float((steps.gradients(step, images) - reference).norm() / reference.norm())
        for name, step in forms.items()
        if name != "plain_causal"
    }
    # Counting runs each once more, with its optimizer.
    flop = {name: count_flop(lambda step=step: step(images))[1] for name, step in forms.items()}
    seconds = interleaved_seconds(
        {name: lambda step=step: step(images) for name, step in forms.items()}, repeats
    )
    medians = {name: median(values) for name, values in seconds.items()}
    slower = [name for name in forms if name != "packed"]
    return {
        "size_px": images[0].shape[-1],
        "seconds": seconds,
        "median_s": medians,
        "tflop": {name: value / 1e12 for name, value in flop.items()},
        "time_ratio": min(medians[name] for name in slower) / medians["packed"],
        "flop_ratio": min(flop[name] for name in slower) / flop["packed"],
        "gradient_difference": differences,
    }


def report(result: dict) -> None:
    print(
        f"{result['num_parameters'] / 1e6:.1f}M parameters, {result['num_trained'] / 1e6:.2f}M "
        f"trained, {result['device']}, {result['environment']['threads']} threads, "
        f"{result['images']} image(s) a step, median of {result['repeats']} in turns\n"
    )
    header = ["px", "packed s", "one question s", "plain causal s", "time ratio", "packed TFLOP",
              "one question TFLOP", "FLOP ratio", "gradient difference"]  # fmt: skip
    rows = [
        [
            row["size_px"],
            *(number(row["median_s"][name], 3) for name in row["median_s"]),
            number(row["time_ratio"]),
            number(row["tflop"]["packed"], 4),
            number(row["tflop"]["one_question"], 4),
            number(row["flop_ratio"]),
            f"{row['gradient_difference']['packed']:.1e}",
        ]
        for row in result["sizes"]
    ]
    print(markdown_table(header, rows))
    for row in result["sizes"]:
        if row["size_px"] == GATED_PX and result["num_parameters"] >= GATED_PARAMETERS:
            for name in ("time_ratio", "flop_ratio"):
                verdict = "met" if row[name] >= GATE else "not met"
                label = name.replace("_", " ").replace("flop", "FLOP")
                print(f"{GATED_PX} px, {label}: {row[name]:.2f}x (gate {GATE}: {verdict})")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_common_options(parser)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="PX", help="256 512")
    parser.add_argument("--images", type=int, default=1, help="a step (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    return parser


if __name__ == "__main__":
    run(main)
