"""Steps of a refresh around its training: what comes before, and the comparison after."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eliq import Scorer
from eliq.checkpoint import Checkpoint, load_checkpoint, read_config, save_checkpoint
from eliq.errors import ConfigError, TrainingError
from eliq.scores import SCORE_NAMES
from eliq.supervision import bare_prompt, build_supervision
from eliq.supervision.sources import read_sources

from ..dataset import Supervision, read_supervision
from ..evaluation import CriticRater, RatedImage, scored
from ..journal import write_atomically
from ..run_state import first_difference
from ..stop_request import StopRequest
from .anchors import Anchors, add_anchors, read_anchors
from .drift import DriftReport, drift_report
from .growing import eras_of, grow_set, new_era_config

__all__ = ["NewEra", "compare", "prepare", "relabel"]

log = logging.getLogger("eliq")


@dataclass(frozen=True)
class NewEra:
    """What a refresh is made of.

    Attributes:
        critic, old_set: the old checkpoint and the supervision set it was trained on.
        new_images: positives of the new era, or a supervision set of them.
        out: of the refresh; anchors lie in out/anchors, the grown set in out/set.
        old_anchors: of an earlier refresh, to be gone on with; None = new ones from the old set.
        era: the new era's name; None = era-2, era-3, ...
        num_anchors, num_new_anchors: prompts to freeze at most of the old set's held-out rows
            (where there are no anchors yet) and of the new era, of which a quarter is never passed.
        held_out_share: of the old critic's split, where its checkpoint does not say.
    """

    critic: Path
    old_set: Path
    new_images: Path
    out: Path
    old_anchors: Path | None = None
    era: str | None = None
    num_anchors: int = 64
    num_new_anchors: int = 16
    held_out_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_anchors", "num_new_anchors"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected 1 or more, found {getattr(self, name)}")


def prepare(
    new: NewEra,
    *,
    prompts_path: Path | None = None,
    generated: Path | None = None,
    num_workers: int = 0,
) -> Anchors:
    """Freezes the anchors and writes the grown set; the same call goes on after a kill.

    Raises:
        TrainingError: `out` belongs to a refresh of something else, or an anchor was changed.
        ConfigError, SupervisionError: see the steps.
    """
    rows = read_supervision(new.old_set)
    era = _claim(new, rows)
    anchors = _first_anchors(new, rows)
    new_set = new.new_images
    if not (new_set / "manifest.jsonl").is_file():
        new_set = new.out / "new_set"
        num_sources = len(read_sources(new.new_images, prompts_path))
        log.info("supervision set of %d new images", num_sources)
        build_supervision(
            new.new_images,
            new_set,
            new_era_config(new.old_set, num_sources, seed=new.seed),
            prompts_path=prompts_path,
            generated=generated,
            num_workers=num_workers,
        )
    new_rows = read_supervision(new_set)
    anchors = add_anchors(
        anchors,
        new_rows,
        era,
        num_prompts=_num_new_anchors(new, new_rows),
        prefer=sorted(anchors.prompts),
        seed=new.seed,
    )
    _say_shortage(new, anchors)
    counts = grow_set(new.old_set, new_set, new.out / "set", era, anchors)
    log.info("the grown set: %s; %s; %d rows of the anchors' prompts are left out",
             _by_era(counts["tuples"], "tuples"), _by_era(counts["ladders"], "ladders"),
             counts["num_anchor_rows"])  # fmt: skip
    return anchors


def compare(
    anchors: Anchors,
    old_critic: Path,
    new_critic: Path,
    cache_dir: Path,
    *,
    device: str | torch.device = "cpu",
    stop: StopRequest | None = None,
    progress: bool = True,
) -> DriftReport:
    """Scores the anchors with both critics (cached) and compares.

    Raises:
        Interrupted: `stop` was requested. ConfigError: too few anchors could be scored.
    """
    images = [
        RatedImage(point.id, anchors.path(point.id), prompt=point.prompt)
        for point in anchors.points.values()
    ]
    raws, scales = [], []
    for name, source in (("old", old_critic), ("new", new_critic)):
        scorer = Scorer.from_pretrained(source, device=str(device))
        rows = scored(
            CriticRater(scorer, name=name),
            images,
            cache_dir,
            "anchors",
            stop=stop,
            progress=progress,
        )
        raws.append({image.id: row for image, row in zip(images, rows, strict=True)})
        scales.append(scorer.calibration)
        del scorer
    return drift_report(anchors, *raws, *scales)


def relabel(directory: Path, drift: DriftReport) -> None:
    """Gives the critic in a directory the scale of the old one, where the two could be linked.

    What it was calibrated to on its own stands in its `training` facts.
    """
    critic = load_checkpoint(directory)
    links = {name: s.link for name, s in drift.scores.items() if s.link is not None}
    facts = {
        "own_calibration": {name: critic.calibration[name].to_json() for name in SCORE_NAMES},
        "linked": {name: link.to_json() for name, link in links.items()},
        "alarms": drift.alarms,
    }
    training = critic.training | {"refresh": critic.training.get("refresh", {}) | facts}
    linked = Checkpoint(
        critic.backbone,
        critic.head,
        critic.calibration | {name: link.calibration for name, link in links.items()},
        critic.mos_calibration,
        training,
        critic.hub,
    )
    save_checkpoint(directory, linked)


def _claim(new: NewEra, rows: Supervision) -> str:
    """The era's name, once `out` is known to be of this refresh."""
    eras = eras_of(new.old_set)
    ours: dict[str, Any] = {
        "format": "eliq-refresh",
        "era": new.era or f"era-{len(eras) + 1}",
        "old_set_sha256": rows.sha256,
        "old_critic_sha256": _critic_sha256(new.critic),
        "num_anchors": [new.num_anchors, new.num_new_anchors],
        "seed": new.seed,
    }
    path = new.out / "refresh.json"
    if path.is_file():
        differing = first_difference(json.loads(path.read_text(encoding="utf-8")), ours)
        if differing is not None:
            field, was, now = differing
            raise TrainingError(
                f"{new.out} is a refresh of another {field} ({was}, now {now}): restore it or "
                "choose another folder"
            )
    else:
        write_atomically(path, json.dumps(ours, indent=1).encode())
    return ours["era"]


def _num_new_anchors(new: NewEra, rows: Supervision) -> int:
    """As many prompts as are wanted, but a quarter of the era's at most: the rest is trained on."""
    prompts = {bare_prompt(row.prompt_group or row.prompt) for row in rows.tuples}
    if len(prompts) < 2:
        raise ConfigError(
            f"{new.new_images}: expected images of 2 prompts or more, some for anchors and some to "
            f"train on, found {len(prompts)}"
        )
    number = min(new.num_new_anchors, max(1, len(prompts) // 4))
    if number < new.num_new_anchors:
        log.warning("%d of the new era's %d prompts are frozen as anchors, not %d: the others are "
                    "to be trained on", number, len(prompts), new.num_new_anchors)  # fmt: skip
    return number


def _say_shortage(new: NewEra, anchors: Anchors) -> None:
    """How many anchors each era has, loudly where the old set gave fewer than were meant."""
    for era in anchors.eras:
        found = anchors.counts(era)
        log.info("anchors of %s: prompts %d, images %d", era, found["prompts"], found["images"])
    first = anchors.eras[0]
    found = anchors.counts(first)
    if new.old_anchors is None and found["prompts"] < new.num_anchors:
        log.warning(
            "the old set (%s) gave anchors of %d prompts (%d images), where %d were meant: no more "
            "of its prompts were held out from the old critic. The link of the scales and the "
            "drift report rest on them; a critic of more prompts, or with a larger held-out share, "
            "gives more",
            first, found["prompts"], found["images"], new.num_anchors,
        )  # fmt: skip


def _by_era(counts: dict[str, int], what: str) -> str:
    """ "tuples: 40 of era-1, 20 of era-2"."""
    parts = [f"{number} of {era}" for era, number in counts.items()] or ["none"]
    return f"{what}: {', '.join(parts)}"


def _critic_sha256(directory: Path) -> str:
    """Of the config of a critic, which names what it was trained on, and the sizes of its files."""
    files = sorted(path for path in Path(directory).glob("*") if path.is_file())
    facts = [[path.name, path.stat().st_size] for path in files]
    config = Path(directory) / "config.json"
    content = config.read_bytes() if config.is_file() else b""
    return hashlib.sha256(json.dumps(facts).encode() + content).hexdigest()


def _first_anchors(new: NewEra, rows: Supervision) -> Anchors:
    """Those in `out`, else those of an earlier refresh, else new ones from held-out old rows."""
    anchors = read_anchors(new.out / "anchors")
    if anchors.points:
        return anchors
    if new.old_anchors is None:
        return add_anchors(
            anchors,
            _held_out(new, rows),
            eras_of(new.old_set)[-1],
            num_prompts=new.num_anchors,
            seed=new.seed,
        )
    given = read_anchors(new.old_anchors)
    if not given.points:
        raise ConfigError(f"anchors: expected those of an earlier refresh in {new.old_anchors}")
    partial = new.out / ".anchors.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(given.folder, partial)
    shutil.rmtree(new.out / "anchors", ignore_errors=True)
    os.replace(partial, new.out / "anchors")
    return read_anchors(new.out / "anchors")


def _held_out(new: NewEra, rows: Supervision) -> Supervision:
    """What the old critic was not trained on, by the split that its checkpoint records."""
    training = read_config(new.critic).training
    split = training.get("split")
    if split is None or training.get("supervision_sha256") != rows.sha256:
        log.warning(
            "%s does not say that it was trained on %s: it may have seen the anchors, and be surer "
            "of them than it should", new.critic, new.old_set
        )  # fmt: skip
        split = {"held_out_share": new.held_out_share, "seed": new.seed}
    return rows.split(split["held_out_share"], seed=split["seed"])[1]
