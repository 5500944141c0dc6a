"""Best of N that drops the worse half three times on the way, judged by previews.

    python examples/prune.py                        # a tiny random pipeline: seconds on a CPU
    python examples/prune.py --model stabilityai/stable-diffusion-xl-base-1.0 --steps 30 \\
        --decoder madebyollin/taesdxl
    python examples/prune.py --trial                # nothing is dropped: can previews be trusted?

Prints what every preview scored (a dash = dropped before), the final score, and what was saved.
A tiny decoder makes previews cheap; the pipeline's own autoencoder can cost more than the steps
that pruning saves. Try --trial on your model and prompts before you rely on pruning.
"""

import argparse
from pathlib import Path

from tiny_pipeline import load_pipeline

from eliq import load_scorer
from eliq.diffusion import PruneSchedule, best_of_n, save_png

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", help="hub id or directory; without it a tiny random pipeline")
parser.add_argument("--critic", help="checkpoint or hub id; without it the embedded critic")
parser.add_argument("--decoder", help="hub id of an AutoencoderTiny for previews")
parser.add_argument("--prompt", default="a red fox in snow")
parser.add_argument("-n", type=int, default=8)
parser.add_argument("--steps", type=int, default=12)
parser.add_argument("--trial", action="store_true", help="rank previews, drop nothing")
parser.add_argument("--out", type=Path, default=Path("runs/prune"))
options = parser.parse_args()

pipe = load_pipeline(options.model)
decoder = None
if options.decoder:
    from diffusers import AutoencoderTiny

    decoder = AutoencoderTiny.from_pretrained(options.decoder, torch_dtype=pipe.vae.dtype)
    decoder = decoder.to(pipe.device)

result = best_of_n(
    pipe,
    options.prompt,
    n=options.n,
    scorer=load_scorer(options.critic),
    seed=0,
    prune=PruneSchedule(trial=options.trial),  # keep half at 25, 45 and 70 % of the steps
    decoder=decoder,
    num_inference_steps=options.steps,
)

fractions = [cut["fraction"] for cut in result.preview_rank["cuts"]]
print("seed  " + "  ".join(f"{fraction:6.0%}" for fraction in fractions) + "   final")
for candidate in result.ranked:
    scores = {preview["fraction"]: preview["score"] for preview in candidate.previews}
    cells = [f"{scores[f]:6.3f}" if f in scores else "     -" for f in fractions]
    final = "     -" if candidate.pruned_at is not None else f"{candidate.score:6.3f}"
    print(f"{candidate.seed:4}  " + "  ".join(cells) + f"  {final}")

saved = result.savings
print(
    f"{saved['denoiser_rows']} of {saved['denoiser_rows_unpruned']} denoiser rows "
    f"({saved['row_share']:.0%}), {saved['decodes']} of {saved['decodes_unpruned']} decodes, "
    f"{saved['previews']} previews"
)
for cut in result.preview_rank["cuts"]:
    for name, found in (("the next look", cut["next"]), ("final images", cut["final"])):
        if found["srcc"] is not None:
            print(
                f"ranks at {cut['fraction']:.0%} against {name} ({found['num']} candidates): "
                f"{found['srcc']:+.2f}"
            )

options.out.mkdir(parents=True, exist_ok=True)
save_png(result.best.image, options.out / "best.png", result.best.record)
