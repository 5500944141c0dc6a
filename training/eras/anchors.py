"""Anchors: frozen images with prompts that every version of a critic scores.

    ANCHORS/anchors.json    points (an image with a prompt) and chains (points in a known order)
    ANCHORS/images/*.png    copies, each named by its SHA-256 and checked on reading

No version is ever trained on an anchor's prompt, so what changes on them is the critic. They come
from held-out rows: of a ladder the positive and its steps, of a tuple the positive above either
negative, and the positive with its own prompt above the same with the wrong one. Anchors may be
added for a new era; those that are there never change.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eliq.errors import TrainingError
from eliq.supervision import bare_prompt

from ..dataset import Supervision
from ..journal import write_atomically

__all__ = ["Anchor", "Anchors", "Chain", "add_anchors", "read_anchors"]

_NAME = "anchors.json"
_FORMAT = {"format": "eliq-anchors", "format_version": 1}


@dataclass(frozen=True)
class Anchor:
    """One image with one prompt; `file` lies in the folder, `is_positive` = an undamaged image
    with its own prompt, `group` the prompt that this is a generated variant of, if it is one,
    `source` what the picture it was made from is called in its set, "" where nobody noted it."""

    id: str
    era: str
    file: str
    sha256: str
    prompt: str
    is_positive: bool
    group: str = ""
    source: str = ""


@dataclass(frozen=True)
class Chain:
    """Anchors from best to worst in one score, by how they were made."""

    id: str
    era: str
    score: str
    kind: str
    anchors: tuple[str, ...]


@dataclass
class Anchors:
    """All anchors of a folder, in the order in which they were added."""

    folder: Path
    points: dict[str, Anchor] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)

    @property
    def eras(self) -> list[str]:
        return list(dict.fromkeys(point.era for point in self.points.values()))

    @property
    def prompts(self) -> set[str]:
        """What no critic may be trained on, as `bare_prompt` gives it."""
        texts = {
            text
            for point in self.points.values()
            if point.is_positive
            for text in (point.prompt, point.group)
        }
        return {bare_prompt(text) for text in texts - {""}}

    @property
    def own_prompts(self) -> dict[str, str]:
        """Anchor -> bare prompt of the picture it was made from, variants under their group's: what
        a bootstrap draws, since all that is made of one picture stands and falls together."""
        found = {
            key: bare_prompt(point.group or point.prompt) for key, point in self.points.items()
        }
        for chain in self.chains.values():
            found |= dict.fromkeys(chain.anchors[1:], found[chain.anchors[0]])
        return found

    def counts(self, era: str | None = None) -> dict[str, int]:
        """How many prompts, image files and anchors there are, of one era or of all."""
        prompts = self.own_prompts
        points = [point for point in self.points.values() if era in (None, point.era)]
        return {
            "prompts": len({prompts[point.id] for point in points}),
            "images": len({point.sha256 for point in points}),
            "anchors": len(points),
        }

    def what(self, anchor_id: str) -> str:
        """In words what was done to an anchor: "swapped prompt", "jpeg 3", "undamaged"."""
        found = []
        for chain in self.chains.values():
            if anchor_id not in chain.anchors[1:]:
                continue
            kind = chain.kind.replace("_", " ")
            if chain.score == "alignment":
                kind = "swapped prompt" if chain.kind == "shuffle" else f"changed prompt: {kind}"
            elif kind.startswith("ladder "):
                kind = f"{kind[len('ladder ') :]} {chain.anchors.index(anchor_id)}"
            found.append(kind)
        return "; ".join(dict.fromkeys(found)) or "undamaged, own prompt"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()

    def path(self, anchor_id: str) -> Path:
        return self.folder / self.points[anchor_id].file

    def to_json(self) -> dict[str, Any]:
        return {
            **_FORMAT,
            "points": [asdict(point) for point in self.points.values()],
            "chains": [asdict(chain) | {"anchors": list(chain.anchors)}
                       for chain in self.chains.values()],
        }  # fmt: skip


def read_anchors(folder: str | os.PathLike[str]) -> Anchors:
    """The anchors of a folder, every image checked against its hash; none in a new folder.

    Raises:
        TrainingError: a damaged list, or an image that is missing or was changed.
    """
    anchors = Anchors(Path(folder))
    path = anchors.folder / _NAME
    if not path.exists():
        return anchors
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if {key: data.get(key) for key in _FORMAT} != _FORMAT:
            raise ValueError("another format")
        for point in data["points"]:
            anchors.points[point["id"]] = Anchor(**point)
        for chain in data["chains"]:
            anchors.chains[chain["id"]] = Chain(**chain | {"anchors": tuple(chain["anchors"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path}: expected a list of anchors, found a damaged one") from error
    for point in anchors.points.values():
        file = anchors.folder / point.file
        if not file.is_file() or _sha256(file) != point.sha256:
            raise TrainingError(
                f"{file}: expected the anchor as it was frozen, found it "
                f"{'changed' if file.is_file() else 'missing'}; restore the file, or start new "
                "anchors in another folder (the link to older scores is then lost)"
            )
    return anchors


def add_anchors(
    anchors: Anchors,
    held_out: Supervision,
    era: str,
    *,
    num_prompts: int,
    prefer: Sequence[str] = (),
    seed: int = 0,
) -> Anchors:
    """Freezes rows of up to `num_prompts` prompts as anchors of a new era; saves and returns all.

    One tuple a prompt and one ladder, if there is one. An era that the folder already has is left
    as it is, so that a run that resumes freezes the same.

    Args:
        held_out: rows that no version was trained on.
        prefer: bare prompts to take first (those of older anchors: the same prompt in two eras).

    Raises:
        TrainingError: no row to take.
    """
    if era in anchors.eras:
        return anchors
    if not held_out.tuples:
        raise TrainingError(f"{era}: expected held-out tuples to take anchors from, found none")
    preferred = set(prefer)
    prompts = sorted(
        {bare_prompt(row.prompt) for row in held_out.tuples},
        key=lambda prompt: (prompt not in preferred, _hash(seed, prompt)),
    )[:num_prompts]
    found = Anchors(anchors.folder, dict(anchors.points), dict(anchors.chains))
    (found.folder / "images").mkdir(parents=True, exist_ok=True)
    for prompt in prompts:
        row = _first(held_out.tuples, prompt, seed)
        group = row.prompt_group
        own, of = {"is_positive": True, "group": group, "made_from": row.source}, row.source
        best = _freeze(found, era, row.positive, row.prompt, **own)
        wrong = _freeze(found, era, row.positive, row.negative_prompt, made_from=of)
        _chain(found, era, "alignment", row.negative_prompt_kind, (best, wrong))
        for negative in (row.technical, row.aesthetic):
            worse = _freeze(found, era, negative.path, row.prompt, made_from=of)
            _chain(found, era, "visual_quality", negative.distortion, (best, worse))
        ladder = _first(held_out.ladders, prompt, seed)
        if ladder is not None:
            of = ladder.source
            steps = [_freeze(found, era, s.path, ladder.prompt, made_from=of) for s in ladder.steps]
            top = _freeze(
                found, era, ladder.positive, ladder.prompt, is_positive=True, made_from=of
            )
            _chain(found, era, "visual_quality", f"ladder {ladder.distortion}", (top, *steps))
    write_atomically(found.folder / _NAME, json.dumps(found.to_json(), indent=1).encode())
    return found


def _freeze(
    anchors: Anchors,
    era: str,
    source: str,
    prompt: str,
    *,
    is_positive: bool = False,
    group: str = "",
    made_from: str = "",
) -> str:
    digest = _sha256(Path(source))
    name = f"images/{digest[:24]}{Path(source).suffix.lower()}"
    anchor_id = _hash(digest, bare_prompt(prompt))[:16]
    if anchor_id in anchors.points:  # one picture may be in a tuple and in a ladder
        return anchor_id
    target = anchors.folder / name
    if not target.is_file() or _sha256(target) != digest:
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, partial)
        with open(partial, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
    anchors.points[anchor_id] = Anchor(
        anchor_id, era, name, digest, prompt, is_positive, group, made_from
    )
    return anchor_id


def _chain(anchors: Anchors, era: str, score: str, kind: str, points: Sequence[str]) -> None:
    chain_id = _hash(score, list(points))[:16]
    anchors.chains[chain_id] = Chain(chain_id, era, score, kind, tuple(points))


def _first(rows: Sequence[Any], prompt: str, seed: int) -> Any:
    """One row of a prompt, the same whatever the order of the rows."""
    fitting = [row for row in rows if bare_prompt(row.prompt) == prompt]
    return min(fitting, key=lambda row: _hash(seed, _id(row)), default=None)


def _id(row: Any) -> str:
    return getattr(row, "tuple_id", None) or row.ladder_id


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
