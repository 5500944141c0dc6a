"""Score the example images with the critic in the package, and print them best first.

    python examples/score_images.py            # about 10 s on a CPU, 24 lines
    python examples/score_images.py --smoke    # four images

Expect clean scenes above their degraded copies in quality, and right prompts above wrong ones in
alignment on the scenes; on the photographs the embedded critic's alignment means little.
"""

import argparse
import json
from pathlib import Path

from eliq import Scorer

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--smoke", action="store_true", help="four images")
options = parser.parse_args()

folder = Path(__file__).resolve().parent / "images"
rows = [json.loads(line) for line in (folder / "prompts.jsonl").read_text("utf-8").splitlines()]
rows = rows[:4] if options.smoke else rows

scorer = Scorer.from_pretrained()  # the embedded critic; or a directory, or a hub id
scores = scorer.score([folder / row["path"] for row in rows], [row["prompt"] for row in rows])

mean = (scores.visual_quality + scores.alignment) / 2  # float32 [B], 0..1
for index in mean.argsort(descending=True).tolist():
    quality, alignment = scores.visual_quality[index], scores.alignment[index]
    print(f"{quality:.3f}  {alignment:.3f}  {rows[index]['path']}")
