"""Trains IP-IQA on ratings: prompt-grouped repeats, averaged, beside the published figures.

    python -m training.ip_iqa.train --set agiqa_3k=DIR --clip timm/resnet50_clip.openai --out runs/x
    python -m training.ip_iqa.train --set csv=my_ratings.csv --clip ... --outputs visual_quality ...
    accelerate launch -m training.ip_iqa.train ...                              # several processes
    python -m training.ip_iqa.train --smoke                                               # seconds

Ten repeats of 80/20 by prompt, of whose 80 a tenth of all rows chooses the epoch. --image2prompt
takes the visual tower that `training.ip_iqa.image2prompt` left. Stopped or killed, the same
command goes on. Writes table.md, table.json and the model of every repeat, as a checkpoint of
`eliq.ip_iqa.IPIQA`, into --out/models; --scale: the ratings that could be given, known of the
published sets. Prints one JSON object.
`table_agiqa_1k.py` and `table_agiqa_3k.py` are this with the settings of the two tables.

Hardware and time: RN50 at 512 px in float32, batch 32, wants a GPU of 24 GB [computed by
memory.py, not run].
Expect: the published rows stand in the table; ours have not been run on a benchmark.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eliq.errors import EliqError, TrainingError
from eliq.ip_iqa import IPIQAConfig, IPIQAModel, PromptTokenizer, start_pooling
from training.evaluation import READERS, RatedSet
from training.placement import Placement
from training.run_state import StopRequest

from .data import OPINION, RatedData, rated_data
from .fitting import weights_digest
from .image2prompt import load_visual
from .keeping import keep, rating_scale
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
    keep_model: Callable[[dict[str, Any], IPIQAModel], None] | None = None,
    facts: dict[str, Any] | None = None,
    progress: bool = True,
) -> SplitsResult:
    """All repeats from the same starting weights, and the table of them.

    `facts` are written into table.json beside ours; `fingerprint` too, and a run of another one is
    refused.
    """
    start = {"config": model.config.to_json(), "weights": weights_digest(model)}
    result = run_splits(
        lambda _: copy.deepcopy(model),
        data,
        settings,
        splits,
        out,
        fingerprint={**start, **(fingerprint or {})},
        placement=placement,
        stop=stop,
        progress=progress,
        keep_model=keep_model,
    )
    if not result.stopped and (placement is None or placement.is_main):
        content = {
            "set": set_name,
            "num_images": len(data),
            "num_prompts": len(set(data.groups)),
            "config": model.config.to_json(),
            "settings": to_json(settings),
            "splits": to_json(splits),
            **(fingerprint or {}),
            **(facts or {}),
        }
        write_table(out, result, model.config.outputs, set_name, content)
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
        log.warning("stopped; the same command goes on from the last epoch that was saved")
        return stop.exit_code or 1
    if placement.is_main:
        found = {"mean": result.mean(), "deviation": result.deviation()}
        print(json.dumps({**found, "out": str(options.out)}))
    return 0


def _run(options: argparse.Namespace, stop: StopRequest, placement: Placement) -> SplitsResult:
    placement.check_shared(options.out)
    if options.smoke:
        outputs = tuple(options.outputs or ("visual_quality", "alignment"))
        model, encoder, data, options.out = smoke_start(options.out, outputs=outputs)
        settings = RatingSettings(num_epochs=1, batch_size=8, learning_rate=1e-3)
        name = "rendered scenes (smoke)"
        return train(
            model,
            data,
            settings,
            SplitSettings(num_splits=2),
            options.out,
            set_name=name,
            placement=placement,
            stop=stop,
            keep_model=_keeper(options, encoder, name, (0.0, 5.0)),
        )
    if options.set is None or options.out is None:
        raise TrainingError("give --set NAME=PATH, --clip and --out, or --smoke; see --help")
    name, _, path = options.set.partition("=")
    if name not in READERS or not path:
        raise TrainingError(f"--set: expected NAME=PATH with a name of {sorted(READERS)}")
    settings = RatingSettings(
        num_epochs=options.epochs, batch_size=options.batch, learning_rate=options.learning_rate
    )
    splits = SplitSettings(num_splits=options.splits)
    rated = READERS[name](path)
    if placement.is_main:
        _say_what_is_left_out(rated)
    outputs = _outputs(options.outputs, name, rated.opinions())
    scale = None if options.keep == "none" else rating_scale(options.scale, name, rated, outputs)
    model, encoder = start_from(options, outputs=outputs, pooling_start=options.pooling_start)
    if options.image2prompt:
        load_visual(model, options.image2prompt)
        start_pooling(model)  # the values of this tower
    with placement.main_first():  # images are decoded once
        data = rated_data(rated, encoder, options.out / "pixels", progress=placement.is_main)
    return train(
        model,
        data,
        settings,
        splits,
        options.out,
        set_name=name,
        fingerprint={"clip": str(options.clip), "image2prompt": bool(options.image2prompt)},
        placement=placement,
        stop=stop,
        keep_model=_keeper(options, encoder, name, scale),
        facts={"left_out": rated.counts.to_json()},
    )


def _say_what_is_left_out(rated: RatedSet) -> None:
    """One line where rows of the sheet are not trained on."""
    counts = rated.counts.to_json()
    named = {"missing files": "num_missing", "conflicting": "num_conflicting"}
    named |= {"repeated": "num_repeated", "without a rating": "num_unrated"}
    found = ", ".join(f"{counts[key]} {word}" for word, key in named.items() if counts[key])
    if found:
        first = (*rated.counts.missing, *rated.counts.conflicting)[:3]
        such = f" (such as {', '.join(first)})" if first else ""
        log.warning("%s: of %d rows left out: %s%s", rated.name, len(rated), found, such)


def _outputs(given: Sequence[str] | None, name: str, opinions: list[str]) -> tuple[str, ...]:
    """AGIQA-1K asked one question for everything, and so did AIGIQA-20K."""
    if given:
        return tuple(output for output in OPINION if output in given)  # in the model's order
    if name in ("agiqa_1k", "aigiqa_20k"):
        return ("overall",)
    called = {"quality": "visual_quality", "alignment": "alignment"}
    return tuple(called[opinion] for opinion in opinions)


def _keeper(
    options: argparse.Namespace,
    encoder: PromptTokenizer,
    set_name: str,
    scale: tuple[float, float] | None,
) -> Callable[[dict[str, Any], IPIQAModel], None] | None:
    if options.keep == "none" or scale is None:
        return None
    return lambda row, model: keep(
        model,
        encoder,
        options.out / "models" / f"split-{row['split']:02d}",
        scale=scale,
        training={"set": set_name, **row},
    )


def _parser(defaults: dict[str, Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_start_options(parser)
    parser.add_argument("--set", metavar="NAME=PATH", help=f"NAME: one of {', '.join(READERS)}")
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument(
        "--outputs",
        nargs="+",
        choices=tuple(OPINION),
        help="visual_quality, alignment or both, or overall; default: what was rated",
    )
    parser.add_argument("--image2prompt", type=Path, help="the run of training.ip_iqa.image2prompt")
    parser.add_argument(
        "--pooling-start",
        choices=("clip", "random"),
        default=IPIQAConfig.pooling_start,
        help="the cross-modality pooling starts from CLIP's own values, or as in the released code",
    )
    parser.add_argument("--epochs", type=int, default=RatingSettings.num_epochs)
    parser.add_argument("--batch", type=int, default=RatingSettings.batch_size)
    parser.add_argument("--learning-rate", type=float, default=RatingSettings.learning_rate)
    parser.add_argument("--splits", type=int, default=SplitSettings.num_splits)
    parser.add_argument(
        "--scale",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="the lowest and the highest rating that could be given: a model's scores lie between "
        "them; default: that of a published set",
    )
    parser.add_argument(
        "--keep",
        choices=("all", "none"),
        default="all",
        help="the models of the repeats, in --out/models; 0.5 GB each with RN50",
    )
    parser.add_argument("--smoke", action="store_true", help="tiny towers on rendered scenes")
    parser.set_defaults(**defaults)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
