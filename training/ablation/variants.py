"""The variants: each is the whole training with one thing left out or replaced.

Names are `set/variant`; "full", the method as it is, belongs to every set. Variants with the same
stage 1 share its backbone and embeddings.

What a negative is left out of is a choice that Tables 4 and 5 do not state. Here both readings
stand: `families/conventional` leaves the AI-specific negatives out of both stages, and
`families/conventional_stage1` out of stage 1 alone, with a stage 2 that has them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eliq.errors import ConfigError

from ..stage1_config import Stage1Config
from ..stage2_config import Stage2Config
from .heads import HEADS, REPRESENTATIONS
from .negatives import ALL_NEGATIVES, Negatives

__all__ = ["FULL", "SETS", "AblationSet", "Variant", "choose"]


@dataclass(frozen=True)
class Variant:
    """One way of training.

    Attributes:
        name, label: `set/variant`, and what tables and pictures call it.
        tuned: False = the backbone as it comes, without stage 1.
        stage1, stage2: negatives that each stage trains on.
        stage1_settings, stage2_settings: what differs in the stage's config.
        representation, head: keys of `REPRESENTATIONS` and `HEADS`.
    """

    name: str
    label: str
    tuned: bool = True
    stage1: Negatives = ALL_NEGATIVES
    stage2: Negatives = ALL_NEGATIVES
    stage1_settings: Mapping[str, Any] = field(default_factory=dict)
    stage2_settings: Mapping[str, Any] = field(default_factory=dict)
    representation: str = "both"
    head: str = "qqt"

    def __post_init__(self) -> None:
        for name, known in (("representation", REPRESENTATIONS), ("head", HEADS)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{self.name}.{name}: expected one of {', '.join(known)}, found "
                    f"{getattr(self, name)!r}"
                )
        Stage1Config.from_json(self.stage1_settings)
        Stage2Config.from_json(self.stage2_settings)

    @property
    def backbone(self) -> str:
        """Names what the backbone depends on; variants of the same name share it."""
        if not self.tuned:
            return "untuned"
        facts = [self.stage1.to_json(), dict(self.stage1_settings)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    def untrained(self, stage2: Stage2Config) -> tuple[str, ...]:
        """Of "visual" and "alignment" the scores that no loss of stage 2 ever moves, where
        `stage2` is the config that the variant changes."""
        config = replace(stage2, **self.stage2_settings)
        aspects = set(self.stage2.aspects)
        by_ladders = self.stage2.keep_ladders and config.ladder_weight
        visual = aspects & {"technical", "aesthetic"} or by_ladders or config.margin_weight
        found = [] if visual else ["visual"]
        alignment = "alignment" in aspects or config.alignment_margin_weight
        return tuple(found if alignment else [*found, "alignment"])

    def to_json(self) -> dict[str, Any]:
        return {
            **{key: getattr(self, key) for key in ("name", "tuned", "representation", "head")},
            "stage1": self.stage1.to_json(),
            "stage2": self.stage2.to_json(),
            "stage1_settings": dict(self.stage1_settings),
            "stage2_settings": dict(self.stage2_settings),
        }


@dataclass(frozen=True)
class AblationSet:
    """Variants that answer one question, and where the paper asks it."""

    title: str
    source: str
    variants: tuple[Variant, ...]


FULL = Variant("full", "full")


def _both_readings(of_set: str, name: str, label: str, kept: Negatives) -> tuple[Variant, Variant]:
    both = Variant(f"{of_set}/{name}", label, stage1=kept, stage2=kept)
    first = replace(
        both, name=f"{both.name}_stage1", label=f"{label}, in stage 1", stage2=ALL_NEGATIVES
    )
    return both, first


def _families() -> tuple[Variant, ...]:
    found = []
    for name, label in (("conventional", "conventional"), ("ai_specific", "AI-specific")):
        found += _both_readings("families", name, label, Negatives(families=(name,)))
    return tuple(found)


def _aspects() -> tuple[Variant, ...]:
    found = []
    for label, *aspects in (
        ("Tec", "technical"),
        ("Aes", "aesthetic"),
        ("Ali", "alignment"),
        ("Tec+Aes", "technical", "aesthetic"),
        ("Tec+Ali", "technical", "alignment"),
        ("Aes+Ali", "aesthetic", "alignment"),
    ):
        kept = Negatives(aspects=tuple(aspects))
        found += _both_readings("aspects", "_".join(aspects), label, kept)
    return tuple(found)


def _loss(name: str, label: str, *aspects: str) -> Variant:
    return Variant(
        f"losses/{name}", label, stage2=Negatives(aspects=aspects, keep_ladders=True)
    )  # fmt: skip


_NO_LADDERS = {"ladder_weight": 0.0}
SETS: dict[str, AblationSet] = {
    "families": AblationSet("Families of negatives", "Table 4", _families()),
    "aspects": AblationSet("Aspects of negatives", "Table 5", _aspects()),
    "tuning": AblationSet(
        "Instruction tuning",
        "supplementary (i)",
        (Variant("tuning/untuned", "without stage 1", tuned=False),),
    ),
    "representation": AblationSet(
        "Visual representation",
        "supplementary (ii)",
        (
            Variant("representation/technical", "z_tec alone", representation="technical"),
            Variant("representation/aesthetic", "z_aes alone", representation="aesthetic"),
            Variant("representation/mean", "mean of both", representation="mean"),
        ),
    ),
    "qqt": AblationSet(
        "Quality Query Transformer",
        "supplementary (iii)",
        (
            Variant("qqt/linear", "linear on z_va", head="linear"),
            Variant("qqt/mlp", "MLPs on z_va", head="mlp"),
            Variant("qqt/pooled", "mean of tokens, no query", head="pooled"),
        ),
    ),
    "losses": AblationSet(
        "Losses",
        "supplementary (iv)",
        (
            _loss("no_technical_pair", "Eq. 18 without I-tec", "aesthetic", "alignment"),
            _loss("no_aesthetic_pair", "Eq. 18 without I-aes", "technical", "alignment"),
            _loss("no_visual_loss", "without Eq. 18, ladders left", "alignment"),
            _loss("no_alignment_loss", "without Eq. 19", "technical", "aesthetic"),
            Variant(
                "losses/no_ladders_stage2", "no ladders in stage 2", stage2_settings=_NO_LADDERS
            ),
            Variant(
                "losses/paper",
                "no ladders at all (the paper)",
                stage1_settings=_NO_LADDERS,
                stage2_settings=_NO_LADDERS,
            ),
            Variant(
                "losses/margins",
                "s_vis held to the margins",
                stage2_settings={"margin_weight": 0.5},
            ),
        ),
    ),
}


def choose(only: Sequence[str] | None = None) -> tuple[Variant, ...]:
    """The full method, then the sets and single variants that `only` names; None = all.

    Raises:
        ConfigError: a name that is neither.
    """
    known = {variant.name: (variant,) for one in SETS.values() for variant in one.variants}
    known |= {name: one.variants for name, one in SETS.items()} | {"full": ()}
    unknown = sorted(set(only or ()) - set(known))
    if unknown:
        raise ConfigError(
            f"--only: expected {', '.join(SETS)} or a variant such as qqt/linear, found "
            f"{unknown[0]!r}"
        )
    wanted = {v.name for name in (SETS if only is None else only) for v in known[name]}
    all_variants = [variant for one in SETS.values() for variant in one.variants]
    return (FULL, *(variant for variant in all_variants if variant.name in wanted))
