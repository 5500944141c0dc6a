"""The variants: each is the short pretraining with one part left out.

Names are `group/variant`. The first of a group is the whole, with which the others are compared;
`families` has that of `visual`. Variants of one group and seed see the same images in the same
order, as far as the part that is left out allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eliq.errors import ConfigError

from ..auxiliary import DEFAULT_WEIGHTS, LossWeights
from ..batches import TRAINED_DISTORTIONS

__all__ = ["FAMILIES", "GROUPS", "Group", "Variant", "choose"]

# Five families of damage that are left out one at a time.
FAMILIES = {
    "jpeg": ("jpeg", "rejpeg"),
    "noise": ("noise", "noise_luma", "noise_coarse"),
    "blur": ("blur", "motion", "resample"),
    "cast": ("colour_cast",),
    "tone": ("low_contrast", "dark", "over_exposure"),
}


@dataclass(frozen=True)
class Variant:
    """One way of training.

    Attributes:
        name, label: `group/variant`, and what tables and pictures call it.
        ladders: trained on batches of ladders, else of scenes with prompts.
        second_frame: of `PatchConfig`; "copy" is without the maps of edges.
        cameras: rendered images pass a camera, as far as they do in the recipe.
        curriculum: scenes grow harder; else all are of full difficulty from the first step.
        weights: of the losses.
        left_out: a family of `FAMILIES` that no ladder has.
    """

    name: str
    label: str
    ladders: bool = True
    second_frame: str = "log_gradient"
    cameras: bool = True
    curriculum: bool = True
    weights: LossWeights = DEFAULT_WEIGHTS
    left_out: str | None = None

    @property
    def group(self) -> str:
        return self.name.split("/")[0]

    @property
    def measured_families(self) -> tuple[str, ...]:
        """Families that are measured one by one: what is left out, and all of them on the whole."""
        if self.left_out:
            return (self.left_out,)
        return tuple(FAMILIES) if self.name == "visual/full" else ()

    @property
    def distortions(self) -> tuple[str, ...]:
        """Those of its ladders."""
        without = FAMILIES[self.left_out] if self.left_out else ()
        return tuple(name for name in TRAINED_DISTORTIONS if name not in without)


@dataclass(frozen=True)
class Group:
    """Variants that are compared with one `full`."""

    name: str
    title: str
    full: Variant
    variants: tuple[Variant, ...]


_VISUAL = Variant("visual/full", "full")
_ALIGNMENT = Variant("alignment/full", "full", ladders=False)

GROUPS = {
    group.name: group
    for group in (
        Group(
            "visual",
            "Visual quality: ladders alone",
            _VISUAL,
            (
                Variant("visual/no_edges", "no edge frame", second_frame="copy"),
                Variant("visual/no_ladders", "no ladders", weights=LossWeights(order=0.0)),
                Variant("visual/no_cameras", "no cameras", cameras=False),
                Variant("visual/no_tasks", "no multi-task heads", weights=LossWeights(damage=0.0)),
            ),
        ),
        Group(
            "alignment",
            "Alignment: scenes with prompts alone",
            _ALIGNMENT,
            (
                Variant(
                    "alignment/no_curriculum", "no curriculum", ladders=False, curriculum=False
                ),
                Variant(
                    "alignment/no_tasks",
                    "no multi-task heads",
                    ladders=False,
                    weights=LossWeights(caption=0.0, grounding=0.0, place=0.0),
                ),
            ),
        ),
        Group(
            "families",
            "Leave one family out",
            _VISUAL,
            tuple(Variant(f"families/{name}", name, left_out=name) for name in FAMILIES),
        ),
    )
}


def choose(names: Sequence[str] = ()) -> tuple[Variant, ...]:
    """The variants of these groups or of these names, each after its full; all without names.

    Raises:
        ConfigError: a name that is neither.
    """
    found: dict[str, Variant] = {}
    known = {v.name: (v, g) for g in GROUPS.values() for v in (g.full, *g.variants)}
    for name in names or GROUPS:
        if name in GROUPS:
            chosen = [GROUPS[name].full, *GROUPS[name].variants]
        elif name in known:
            chosen = [known[name][1].full, known[name][0]]
        else:
            raise ConfigError(f"expected one of {', '.join([*GROUPS, *known])}, found {name!r}")
        found |= {variant.name: variant for variant in chosen}
    return tuple(found.values())
