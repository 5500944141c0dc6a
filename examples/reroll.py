"""Try new seeds until an image reaches both minimums.

    python examples/reroll.py                       # a tiny random pipeline: seconds on a CPU
    python examples/reroll.py --model stabilityai/stable-diffusion-xl-base-1.0 --steps 30

Prints one line a try. A threshold belongs to the critic it was chosen on: see what images you like
score before you set one.
"""

import argparse
from pathlib import Path

from tiny_pipeline import load_pipeline

from eliq import load_scorer
from eliq.diffusion import reroll, save_png

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", help="hub id or directory; without it a tiny random pipeline")
parser.add_argument("--critic", help="checkpoint or hub id; without it the embedded critic")
parser.add_argument("--prompt", default="a red fox in snow")
parser.add_argument("--min-visual-quality", type=float, default=0.5)
parser.add_argument("--min-alignment", type=float, default=0.5)
parser.add_argument("--max-tries", type=int, default=6)
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--out", type=Path, default=Path("runs/reroll"))
options = parser.parse_args()

result = reroll(
    load_pipeline(options.model),
    options.prompt,
    load_scorer(options.critic),
    min_visual_quality=options.min_visual_quality,
    min_alignment=options.min_alignment,
    max_tries=options.max_tries,
    num_inference_steps=options.steps,
)

print("seed  quality  alignment")
for candidate in result:
    print(f"{candidate.seed:4}  {candidate.visual_quality:7.3f}  {candidate.alignment:9.3f}")
verdict = "passed" if result.passed else "none passed; the best so far is"
print(f"{result.attempts} tries: {verdict}: seed {result.best.seed}")

options.out.mkdir(parents=True, exist_ok=True)
save_png(result.best.image, options.out / "best.png", result.best.record)
