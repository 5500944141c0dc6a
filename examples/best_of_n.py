"""Make N images of a prompt, keep the best one, and make it again from its record.

    python examples/best_of_n.py                    # a tiny random pipeline: seconds on a CPU
    python examples/best_of_n.py --model stabilityai/stable-diffusion-xl-base-1.0 --steps 30

Prints one line a candidate, best first. In the folder --out: the best image (its record lies in
the PNG), a contact sheet of all of them, and everything as JSON.
"""

import argparse
from pathlib import Path

from tiny_pipeline import load_pipeline

from eliq import load_scorer
from eliq.diffusion import best_of_n, read_record, regenerate, save_png

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", help="hub id or directory; without it a tiny random pipeline")
parser.add_argument("--critic", help="checkpoint or hub id; without it the embedded critic")
parser.add_argument("--prompt", default="a red fox in snow")
parser.add_argument("-n", type=int, default=4)
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--out", type=Path, default=Path("runs/best_of_n"))
options = parser.parse_args()

pipe = load_pipeline(options.model)
scorer = load_scorer(options.critic)

result = best_of_n(
    pipe,
    options.prompt,
    n=options.n,
    scorer=scorer,
    seed=0,
    keep_images="all",
    num_inference_steps=options.steps,
)

print("seed  quality  alignment  mean")
for candidate in result.ranked:
    print(
        f"{candidate.seed:4}  {candidate.visual_quality:7.3f}  {candidate.alignment:9.3f}  "
        f"{candidate.score:.3f}"
    )

options.out.mkdir(parents=True, exist_ok=True)
save_png(result.best.image, options.out / "best.png", result.best.record)
result.contact_sheet(options.out / "candidates.html")
result.save_json(options.out / "result.json")

again = regenerate(pipe, read_record(options.out / "best.png"))
print(f"seed {result.best.seed} made again: same = {again == result.best.image}")
