"""Trains IP-IQA on ratings: prompt-grouped repeats, averaged, beside the published figures.

    python -m training.ip_iqa.train --set agiqa_3k=DIR --clip timm/resnet50_clip.openai --out runs/x
    python -m training.ip_iqa.train --set csv=my_ratings.csv --clip ... --outputs visual_quality ...
    accelerate launch -m training.ip_iqa.train ...                              # several processes
    python -m training.ip_iqa.train --smoke                                               # seconds

Ten repeats of 80/20 by prompt, of whose 80 a tenth of all rows chooses the epoch. --image2prompt
takes the visual tower that `training.ip_iqa.image2prompt` left. Stopped or killed, the same
command goes on. Writes table.md, table.json and the model of every repeat, as a checkpoint of
`eliq.ip_iqa.IPIQA`, into --out/models; --scale: the ratings that could be given. Prints one JSON
object.
`table_agiqa_1k.py` and `table_agiqa_3k.py` are this with the settings of the two tables.

Hardware and time: RN50 at 512 px in float32, batch 32, wants a GPU of 24 GB [estimated, not run].
Expect: the published rows stand in the table; ours have not been run on a benchmark.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eliq.errors import EliqError, TrainingError
from eliq.ip_iqa import IPIQAModel, PromptTokenizer
from training.evaluation import READERS
from training.placement import Placement
from training.run_state import StopRequest

from .data import RatedData, rated_data
from .image2prompt import load_visual
from .settings import RatingSettings, SplitSettings, to_json
from .splits import SplitsResult, run_splits
from .starting import add_start_options, smoke_start, start_from
from .tables import write_table

__all__ = ["main", "train"]

log = logging.getLogger("eliq")


def train(
    model: IPIQAModel,
    data: RatedData,
    settings: RatingSettings,
    splits: SplitSettings,
    out: Path,
    *,
    set_name: str,
    fingerprint: dict[str, Any] | None = None,
    placement: Placement | None = None,
    stop: StopRequest | None = None,
    keep_model: Callable[[int, IPIQAModel], None] | None = None,
    progress: bool = True,
) -> SplitsResult:
    """All repeats from the same starting weights, and the table of them."""
    result = run_splits(
        lambda _: copy.deepcopy(model),
        data,
        settings,
        splits,
        out,
        fingerprint=fingerprint,
        placement=placement,
        stop=stop,
        progress=progress,
        keep_model=keep_model,
    )
    if not result.stopped and (placement is None or placement.is_main):
        facts = {
            "set": set_name,
            "num_images": len(data),
            "num_prompts": len(set(data.groups)),
            "config": model.config.to_json(),
            "settings": to_json(settings),
            "splits": to_json(splits),
            **(fingerprint or {}),
        }
        write_table(out, result, model.config.outputs, set_name, facts)
    return result


def main(arguments: list[str] | None = None, **defaults: Any) -> int:
    """Runs the command line; 2: wrong input, 130/143: stopped. `defaults` of a table script."""
    options = _parser(defaults).parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    try:
        with StopRequest() as stop, Placement(options.device) as placement:
            result = _run(options, stop, placement)
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if result.stopped:
        log.warning("stopped and saved; the same command goes on from here")
        return stop.exit_code or 1
    if placement.is_main:
        print(json.dumps({"mean": result.mean(), "deviation": result.deviation()}))
    return 0


def _run(options: argparse.Namespace, stop: StopRequest, placement: Placement) -> SplitsResult:
    placement.check_shared(options.out)
    if options.smoke:
        model, data, out = smoke_start(options.out)
        settings = RatingSettings(num_epochs=1, batch_size=8, learning_rate=1e-3)
        return train(
            model,
            data,
            settings,
            SplitSettings(num_splits=2),
            out,
            set_name="rendered scenes (smoke)",
            placement=placement,
            stop=stop,
        )
    if options.set is None or options.out is None:
        raise TrainingError("give --set NAME=PATH, --clip and --out, or --smoke; see --help")
    name, _, path = options.set.partition("=")
    if name not in READERS or not path:
        raise TrainingError(f"--set: expected NAME=PATH with a name of {sorted(READERS)}")
    rated = READERS[name](path)
    outputs = tuple(options.outputs or _outputs(name, rated.opinions()))
    model, encoder = start_from(options, outputs=outputs)
    if options.image2prompt:
        load_visual(model, options.image2prompt)
    data = rated_data(rated, encoder, options.out / "pixels")
    settings = RatingSettings(
        num_epochs=options.epochs, batch_size=options.batch, learning_rate=options.learning_rate
    )
    return train(
        model,
        data,
        settings,
        SplitSettings(num_splits=options.splits),
        options.out,
        set_name=name,
        fingerprint={"clip": str(options.clip), "image2prompt": bool(options.image2prompt)},
        placement=placement,
        stop=stop,
        keep_model=_keeper(options, encoder),
    )


def _outputs(name: str, opinions: list[str]) -> tuple[str, ...]:
    """AGIQA-1K asked one question for everything, and so did AIGIQA-20K."""
    if name in ("agiqa_1k", "aigiqa_20k"):
        return ("overall",)
    called = {"quality": "visual_quality", "alignment": "alignment"}
    return tuple(called[opinion] for opinion in opinions)


def _keeper(
    options: argparse.Namespace, encoder: PromptTokenizer
) -> Callable[[int, IPIQAModel], None] | None:
    if options.keep == "none":
        return None
    from .keeping import keep

    return lambda number, model: keep(
        model,
        encoder,
        options.out / "models" / f"split-{number:02d}",
        scale=options.scale,
        training={"set": options.set.partition("=")[0], "split": number},
    )


def _parser(defaults: dict[str, Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_start_options(parser)
    parser.add_argument("--set", metavar="NAME=PATH", help=f"one of {', '.join(READERS)}")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--outputs", nargs="+", help="visual_quality and alignment, or overall")
    parser.add_argument("--image2prompt", type=Path, help="the run of training.ip_iqa.image2prompt")
    parser.add_argument("--epochs", type=int, default=RatingSettings.num_epochs)
    parser.add_argument("--batch", type=int, default=RatingSettings.batch_size)
    parser.add_argument("--learning-rate", type=float, default=RatingSettings.learning_rate)
    parser.add_argument("--splits", type=int, default=SplitSettings.num_splits)
    parser.add_argument("--scale", type=float, nargs=2, default=(0.0, 5.0), metavar=("LOW", "HIGH"))
    parser.add_argument("--keep", choices=("all", "none"), default="all")
    parser.add_argument("--smoke", action="store_true", help="tiny towers on rendered scenes")
    parser.set_defaults(**defaults)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
