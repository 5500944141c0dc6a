"""Refreshes a critic for a new era of generators, and says what changed.

    python -m training.refresh NEW_IMAGES --critic runs/one/critic --set runs/one/set --out runs/two
    python -m training.refresh NEXT_IMAGES --critic runs/two/critic --set runs/two/set \\
        --anchors runs/two/anchors --out runs/three
    python -m training.refresh --smoke

NEW_IMAGES is a folder of positives of the new generators (`training.make_positives` makes one), or
a supervision set of them (`training.make_negatives`). Steps: anchors are frozen from the held-out
rows of the old set and from the new era; both sets become one, without the anchors' prompts; a
critic is trained on it, from the old critic's weights, with a head of the same shape and the
settings its checkpoint records, unless --config, --stage1 or --stage2 say otherwise; its scale is
linked to the old one by the anchors, so that a threshold keeps its meaning; the drift report says
where old and new differ.
Give --anchors to go on with the anchors of an earlier refresh. Killed, it goes on where it was.

Hardware and time: those of `training.train_critic`, and the anchors (about 500 images) scored
twice. --smoke: a minute on one core.
Expect: OUT/critic (linked), OUT/set, OUT/anchors, OUT/drift.json, drift.png, drift.html; on stdout
a JSON object with the correlation of old and new on the anchors and any alarms. An alarm is no
error: it asks for a look at the picture. The numbers of --smoke mean nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from eliq.errors import ConfigError, EliqError
from eliq.supervision import SupervisionConfig, build_supervision

from .backbones import load_backbone, origin_of
from .eras import (
    DriftReport,
    NewEra,
    agreement_in_words,
    compare,
    old_settings,
    prepare,
    read_anchors,
    relabel,
    settings_in_words,
    write_drift_report,
)
from .evaluation import Interrupted
from .pipeline import Stopped, train_critic
from .placement import Placement
from .run_words import held_out_in_words
from .smoke_pictures import write_smoke_pictures
from .stage_settings import key_values, read_settings, stage_configs
from .stop_request import StopRequest

log = logging.getLogger("eliq")
_COUNTS = ("num", "num_old", "num_new", "old", "new")  # of pairs in a known order
SMOKE_SET = SupervisionConfig(num_tuples=12, num_ladders=6, max_side_px=96)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input, 130/143: stopped)."""
    options = _parser().parse_args(arguments)
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    try:
        with (
            StopRequest() as stop,
            Placement(options.device) as placement,
            tempfile.TemporaryDirectory() as temporary,
        ):
            try:
                report = _run(options, placement, stop, Path(temporary))
            except (Stopped, Interrupted):
                log.warning("stopped and saved; the same command goes on from here")
                return stop.exit_code or 1
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for alarm in report.get("alarms", ()):
        sys.stderr.write(f"alarm: {alarm}\n")
    if report:
        for line in _in_words(report):
            log.info(line)
        sys.stdout.write(json.dumps(report) + "\n")
    return 0


def _run(
    options: argparse.Namespace, placement: Placement, stop: StopRequest, temporary: Path
) -> dict[str, Any]:
    placement.check_shared(options.out)
    if options.smoke and placement.world_size > 1:
        raise ConfigError("--smoke runs in one process: start it without accelerate launch")
    if options.smoke:
        options.out = options.out or temporary / "new"
        _smoke_inputs(options, temporary, stop)
    for name in ("new_images", "critic", "set", "out"):
        if getattr(options, name) is None:
            raise ConfigError("give NEW_IMAGES, --critic, --set and --out, or --smoke; see --help")
    settings: dict[str, Any] = {}
    if options.config is not None:
        settings = read_settings(options.config, ("stage1", "stage2"))
    out = options.out
    if placement.is_main:
        prepare(
            NewEra(
                critic=options.critic,
                old_set=options.set,
                new_images=options.new_images,
                out=out,
                old_anchors=options.anchors,
                era=options.era,
                num_anchors=options.num_anchors,
                num_new_anchors=options.num_new_anchors,
                held_out_share=options.held_out_share,
                seed=options.seed,
            ),
            prompts_path=options.prompts,
            generated=options.negatives,
            num_workers=options.workers,
        )
    placement.wait()
    anchors = read_anchors(out / "anchors")
    given1 = settings.get("stage1", {}) | key_values(options.stage1)
    given2 = settings.get("stage2", {}) | key_values(options.stage2)
    backbone = load_backbone(
        str(options.backbone or options.critic),
        dtype=getattr(torch, options.dtype),
        device=placement.loading_device(given1.get("tuning", "")),
    )
    num_parameters = sum(p.numel() for p in backbone.parameters())
    old1, old2 = old_settings(options.critic, same_backbone=options.backbone is None)
    stage1, stage2 = stage_configs(
        num_parameters, old1 | given1, old2 | given2, seed=options.seed, smoke=options.smoke
    )
    if placement.is_main:
        chosen = settings_in_words(options.critic, (old1, old2), (given1, given2), (stage1, stage2))
        for line in chosen:
            log.info(line)
    facts = {
        **origin_of(str(options.backbone or options.critic)),
        "num_parameters": num_parameters,
        "refresh": {"eras": anchors.eras, "anchors_sha256": anchors.sha256},
    }
    trained = train_critic(
        out / "set",
        out,
        backbone=backbone,
        stage1=stage1,
        stage2=stage2,
        supervision=SupervisionConfig(),
        held_out_share=options.held_out_share,
        split_seed=options.seed,
        facts=facts,
        placement=placement,
        stop=stop,
        progress=not options.quiet,
    )
    if not placement.is_main:
        return {}
    del backbone
    drift = compare(
        anchors,
        options.critic,
        out / "critic",
        out / "scores",
        device=placement.device,
        stop=stop,
        progress=not options.quiet,
    )
    relabel(out / "critic", drift)
    paths = write_drift_report(drift, anchors, out)
    is_kept = not options.smoke or temporary not in out.parents
    return {
        "out": str(out) if is_kept else None,
        "checkpoint": str(out / "critic") if is_kept else None,
        "stage1": trained["stage1"],
        "stage2": trained["stage2"],
        "calibration": trained["calibration"],
        "anchors": {"num": len(anchors.points), "eras": anchors.eras, "by_era": drift.anchors},
        "srcc_old_new": {name: s.numbers["srcc"] for name, s in drift.scores.items()},
        "agreement": _agreement(drift),
        "known_order": {
            name: {key: s.numbers["known_order"][key] for key in _COUNTS}
            for name, s in drift.scores.items()
        },
        "is_linked": {name: s.link is not None for name, s in drift.scores.items()},
        "alarms": drift.alarms,
        "report": paths if is_kept else None,
    }


def _agreement(drift: DriftReport) -> dict[str, Any]:
    """Of each score what its correlation rests on, and a sentence that says so."""
    keys = ("srcc_interval", "too_few", "num_anchors", "num_prompts", "num_images")
    return {
        name: {key: score.numbers[key] for key in keys}
        | {"in_words": agreement_in_words(score.numbers)}
        for name, score in drift.scores.items()
    }


def _in_words(report: dict[str, Any]) -> list[str]:
    """The end of a refresh for people: what came out, where it lies, and what comes next."""
    lines = []
    for name, found in report["agreement"].items():
        title, order = name.replace("_", " "), report["known_order"][name]
        lines.append(f"{title}, old and new critic: {found['in_words']}")
        lines.append(f"{title}, known orders kept: {order['num_old']} of {order['num']} pairs by "
                     f"the old critic, {order['num_new']} by the new")  # fmt: skip
        if not report["is_linked"][name]:
            lines.append(f"{title}: not linked, a threshold of the old critic means nothing here")
    lines += held_out_in_words(report)
    if report["report"] is not None:
        paths, out = report["report"], Path(report["out"])
        lines.append(f"drift report: {', '.join(paths[key] for key in sorted(paths))}")
        names = " ".join(
            f"--{flag} {shlex.quote(str(out / flag))}" for flag in ("critic", "set", "anchors")
        )
        lines.append(f"the next refresh: python -m training.refresh NEXT_IMAGES {names} --out NEXT")
    return lines


def _smoke_inputs(options: argparse.Namespace, folder: Path, stop: StopRequest) -> None:
    """A tiny old critic with its set, and other pictures of the same prompts as the new era."""
    images = write_smoke_pictures(folder / "old_images")
    build_supervision(images, folder / "old_set", SMOKE_SET)
    backbone = load_backbone("tiny")
    stage1, stage2 = stage_configs(0, {}, {}, smoke=True)
    train_critic(
        folder / "old_set", folder / "old", backbone=backbone, stage1=stage1, stage2=stage2,
        supervision=SMOKE_SET, held_out_share=0.34, stop=stop, progress=False,
    )  # fmt: skip
    options.new_images = write_smoke_pictures(folder / "new_images", seed=1)
    options.critic, options.set = folder / "old" / "critic", folder / "old_set"
    options.num_anchors, options.num_new_anchors, options.held_out_share = 2, 2, 0.34


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.refresh",
        description="Refreshes a critic for a new era of generators, and says what changed.",
        epilog="Settings of the stages: training/stage1_config.py and training/stage2_config.py.",
    )
    add = parser.add_argument
    add("new_images", nargs="?", type=Path, metavar="NEW_IMAGES",
        help="positives of the new era with prompts, or a supervision set of them")  # fmt: skip
    add("--critic", type=Path, help="checkpoint directory of the old critic")
    add("--set", type=Path, help="supervision set that it was trained on")
    add("--out", type=Path, help="folder of the new critic, its set and anchors, and the report")
    add("--anchors", type=Path, help="anchors of an earlier refresh, to be gone on with")
    add("--num-anchors", type=int, default=64, help="prompts frozen of the old set at first "
        "(default %(default)s)")  # fmt: skip
    add("--num-new-anchors", type=int, default=16, help="prompts frozen of the new era "
        "(default %(default)s)")  # fmt: skip
    add("--era", help="name of the new era (default: era-2, era-3, ...)")
    add("--backbone", help="start from this backbone instead of the old critic's weights")
    add("--prompts", type=Path, help="list of prompts, if not in NEW_IMAGES")
    add("--negatives", type=Path, help="generated negatives of NEW_IMAGES")
    add("--workers", type=int, default=0, help="processes that make rows (default: this one)")
    add("--held-out-share", type=float, default=0.1, help="default %(default)s")
    add("--config", type=Path, help='JSON or TOML file {"stage1": {...}, "stage2": {...}}')
    add("--stage1", nargs="+", default=[], metavar="KEY=VALUE",
        help="settings of stage 1, in place of those that the old critic records")  # fmt: skip
    add("--stage2", nargs="+", default=[], metavar="KEY=VALUE",
        help="the same of stage 2 and the head, e.g. model_dim=512 num_layers=2")  # fmt: skip
    add("--dtype", choices=("float32", "bfloat16"), default="float32")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--seed", type=int, default=0)
    add("--quiet", action="store_true", help="no progress bars, only warnings")
    add("--smoke", action="store_true", help="an old tiny critic and new pictures of its own")
    return parser


if __name__ == "__main__":
    sys.exit(main())
