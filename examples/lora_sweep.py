"""Which strength of a LoRA? The same seeds at every strength, every image scored.

    python examples/lora_sweep.py                   # a tiny random pipeline: seconds on a CPU
    python examples/lora_sweep.py --model stabilityai/stable-diffusion-xl-base-1.0 \\
        --lora someone/a-lora --steps 30

Needs peft: pip install 'eliq[train]'. Prints one line a strength: mean scores over all seeds and
prompts, and how many of the images are better than those of the same seed without the LoRA. The
LoRA of the tiny pipeline is random, so it should help nobody.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

import torch
from tiny_pipeline import load_pipeline

from eliq import load_scorer
from eliq.diffusion import best_of_n

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", help="hub id or directory; without it a tiny random pipeline")
parser.add_argument("--lora", help="hub id, directory or file; without it a random one")
parser.add_argument("--critic", help="checkpoint or hub id; without it the embedded critic")
parser.add_argument("--prompts", nargs="+", default=["a red fox in snow", "three tulips"])
parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.5, 1.0])
parser.add_argument("-n", type=int, default=3, help="seeds a prompt")
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--out", type=Path, default=Path("runs/lora_sweep"))
options = parser.parse_args()
if options.model and not options.lora:
    parser.error("--model needs --lora: a random LoRA is made for the tiny pipeline alone")


def random_lora(unet: torch.nn.Module, rank: int = 2) -> dict[str, torch.Tensor]:
    """A LoRA of random matrices on every query projection of the denoiser."""
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for name, module in unet.named_modules():
        if name.endswith("to_q"):
            rows, columns = module.weight.shape
            weights[f"unet.{name}.lora_A.weight"] = torch.randn(rank, columns, generator=generator)
            weights[f"unet.{name}.lora_B.weight"] = torch.randn(rows, rank, generator=generator)
    return weights


pipe = load_pipeline(options.model)
pipe.load_lora_weights(options.lora or random_lora(pipe.unet), adapter_name="swept")
scorer = load_scorer(options.critic)

rows = []
print("strength  quality  alignment  better than without")
for strength in [0.0, *(one for one in options.strengths if one)]:
    pipe.set_adapters(["swept"], [strength])
    results = best_of_n(
        pipe,
        options.prompts,
        n=options.n,
        scorer=scorer,
        seed=0,
        num_inference_steps=options.steps,
    )
    images = [candidate for result in results for candidate in result]
    rows.append({"strength": strength, "results": [result.to_json() for result in results]})
    if not strength:
        without = [image.score for image in images]
    better = sum(image.score > score for image, score in zip(images, without, strict=True))
    print(
        f"{strength:8.2f}  {fmean(image.visual_quality for image in images):7.3f}  "
        f"{fmean(image.alignment for image in images):9.3f}  {better} of {len(images)}"
    )

options.out.mkdir(parents=True, exist_ok=True)
(options.out / "sweep.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
