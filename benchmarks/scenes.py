"""Does the critic see damage, and read the prompt, in rendered scenes it never met?

    python benchmarks/scenes.py --json scenes.json

Hardware and time: one CPU core, about 3 minutes with the embedded critic; needs the emoji font
that the renderer draws with.
Expect: visual pairs >= .93, shuffled prompts >= .90; hard swaps are reported without a gate.

Scenes at full difficulty, of seeds from 8,000,000 on, which neither training nor selection draws.
Accuracies are of pairs, 0.5 is chance, a tie counts half; intervals are 95 % bootstrap over
scenes.

visual pairs      visual_quality of a scene against the scene damaged, severities 1-5 alike
shuffled prompt   alignment with its own prompt against that of another scene
hard swaps        alignment with its own prompt against the prompt with one fact wrong
prompt swap       how far visual_quality moves when only the prompt changes
image damaged     how far alignment moves when the image is damaged, beside a hard swap
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import (
    add_common_options,
    environment,
    load_scorer,
    markdown_table,
    number,
    run,
    to_tensor,
    write_json,
)
from eliq.correlation import bootstrap_interval, pairwise_accuracy
from eliq.supervision import DISTORTIONS, SEVERITIES, distort, distortion_names

FIRST_SEED = 8_000_000
GATES = {"visual pairs": 0.93, "shuffled prompt": 0.90}
# A scene is damaged in this many ways, which take turns over the scenes.
NUM_DAMAGES = {"technical": 4, "aesthetic": 3}


@dataclass
class Pairs:
    """Scores of both sides of each pair, and the scene that each pair belongs to."""

    better: list[float] = field(default_factory=list)
    worse: list[float] = field(default_factory=list)
    scenes: list[int] = field(default_factory=list)

    def add(self, better: float, worse: float, scene: int) -> None:
        self.better.append(better)
        self.worse.append(worse)
        self.scenes.append(scene)

    def summary(self) -> dict:
        accuracy = pairwise_accuracy(self.better, self.worse)
        interval = bootstrap_interval(
            pairwise_accuracy, self.better, self.worse, groups=self.scenes, num_resamples=500
        )
        return {"accuracy": accuracy, "interval": list(interval), "num_pairs": len(self.better)}


def main(argv: list[str] | None = None, *, scorer=None) -> dict:
    """Runs the benchmark and returns what `--json` writes. ``scorer`` replaces the loaded one."""
    arguments = _parser().parse_args(argv)
    scorer = scorer or load_scorer(arguments.checkpoint, device=arguments.device)
    num_scenes = 4 if arguments.smoke else arguments.scenes
    size_px = 64 if arguments.smoke else arguments.size
    groups, prompt_swap, damage = measure(scorer, num_scenes, size_px)
    result = {
        "benchmark": "scenes",
        "environment": environment(),
        "checkpoint": arguments.checkpoint or "embedded",
        "first_seed": FIRST_SEED,
        "num_scenes": num_scenes,
        "size_px": size_px,
        "accuracy": {
            group: {name: pairs.summary() for name, pairs in sorted(by_name.items())}
            for group, by_name in groups.items()
        },
        "prompt_swap": prompt_swap,
        "image_damaged": damage,
    }
    report(result)
    write_json(arguments.json, result)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_common_options(parser)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--size", type=int, default=256, metavar="PX")
    return parser


def rendered(num_scenes: int, size_px: int) -> Iterator[tuple[int, object, dict[str, str]]]:
    """(seed, scene, wrong prompts by kind) of held-out seeds; the renderer is training's own."""
    from training.embedded.render import render_positive
    from training.embedded.scenes import FULL_DIFFICULTY, hard_swaps

    config = replace(FULL_DIFFICULTY, size_px=size_px)
    for seed in range(FIRST_SEED, FIRST_SEED + num_scenes):
        _, _, scene = render_positive(
            seed, config, textures=0.0, dead_leaves=0.0, photolike=0.0, relief=0.0
        )
        yield seed, scene, hard_swaps(scene, np.random.default_rng((seed, 1)))


def measure(
    scorer, num_scenes: int, size_px: int
) -> tuple[dict[str, dict[str, Pairs]], dict, dict]:
    """Pairs by group and name; what a change of prompt does to visual quality; what damage does to
    alignment."""
    groups: dict[str, dict[str, Pairs]] = {
        name: {} for name in ("summary", "hard swaps", "severity", "distortion")
    }
    raw_visual, swapped, original = [], [], []
    by_damage, by_swap = [], []
    scenes = list(rendered(num_scenes, size_px))
    for index, (seed, scene, swaps) in enumerate(scenes):
        damages = damaged(scene.image, index, seed)
        shuffled = scenes[(index + 1) % len(scenes)][1].prompt
        prompts = [scene.prompt, shuffled, *swaps.values()]
        images = [scene.image] * len(prompts) + [image for image, _, _ in damages]
        scores = scorer.score(
            [to_tensor(image) for image in images], prompts + [scene.prompt] * len(damages)
        )
        failed = [error for error in scores.errors if error is not None]
        if failed:
            sys.exit(f"{len(failed)} of {len(images)} images were not scored: {failed[0]}")
        visual, alignment = scores.visual_quality.tolist(), scores.alignment.tolist()

        def add(group: str, name: str, better: float, worse: float, seed: int = seed) -> None:
            groups[group].setdefault(name, Pairs()).add(better, worse, seed)

        add("summary", "shuffled prompt", alignment[0], alignment[1])
        for kind, worse in zip(swaps, alignment[2 : len(prompts)], strict=True):
            add("hard swaps", kind, alignment[0], worse)
        for (_, name, severity), worse in zip(damages, visual[len(prompts) :], strict=True):
            distortion = DISTORTIONS[name]
            label = f"{name} ({distortion.aspect})"
            if distortion.held_out:
                add("distortion", f"{label}, held out", visual[0], worse)
                continue
            add("summary", "visual pairs", visual[0], worse)
            add("summary", f"visual pairs, {distortion.aspect}", visual[0], worse)
            add("severity", str(severity), visual[0], worse)
            add("distortion", label, visual[0], worse)
        raw = scores.raw["visual_quality"].tolist()
        original += [raw[0]] * (len(prompts) - 1)
        swapped += raw[1 : len(prompts)]
        raw_visual += [raw[0], *raw[len(prompts) :]]
        read = scores.raw["alignment"].tolist()
        by_swap += [abs(value - read[0]) for value in read[2 : len(prompts)]]
        by_damage += [abs(value - read[0]) for value in read[len(prompts) :]]
        if (index + 1) % 50 == 0:
            print(f"{index + 1}/{len(scenes)} scenes", file=sys.stderr)
    damage = {"by_damage": float(np.mean(by_damage)), "by_hard_swap": float(np.mean(by_swap))}
    return groups, prompt_dependence(original, swapped, raw_visual), damage


def damaged(image: np.ndarray, index: int, seed: int) -> list[tuple[np.ndarray, str, int]]:
    """The image with one distortion each: (pixels, name, severity)."""
    rng = np.random.default_rng((seed, 2))
    names = [name for name in distortion_names(held_out=True) if DISTORTIONS[name].held_out]
    for aspect, number_of in NUM_DAMAGES.items():
        table = distortion_names(aspect=aspect)
        names += [table[(index * number_of + turn) % len(table)] for turn in range(number_of)]
    damages = []
    for name in names:
        severity = int(rng.choice(SEVERITIES))
        damages.append((distort(image, name, severity, rng)[0], name, severity))
    return damages


def prompt_dependence(original: list[float], swapped: list[float], raw: list[float]) -> dict:
    """|change| of the raw visual score under another prompt, as shares of the score's spread.

    The spread is the standard deviation over scenes and their damaged versions.
    """
    change = np.abs(np.asarray(swapped) - np.asarray(original))
    spread = float(np.std(raw))
    share = change / spread if spread > 0 else np.full(change.shape, np.nan)
    return {
        "spread_raw": spread,
        "mean_share": float(share.mean()),
        "p95_share": float(np.percentile(share, 95)),
        "num_swaps": len(change),
    }


def report(result: dict) -> None:
    print(
        f"checkpoint: {result['checkpoint']}; {result['num_scenes']} scenes of "
        f"{result['size_px']} px, seeds from {result['first_seed']}\n"
    )
    for group, by_name in result["accuracy"].items():
        rows = [
            [
                name,
                number(entry["accuracy"], 3),
                f"{number(entry['interval'][0], 3)} to {number(entry['interval'][1], 3)}",
                entry["num_pairs"],
            ]
            for name, entry in by_name.items()
        ]
        print(markdown_table([group, "pair accuracy", "95 % interval", "pairs"], rows), end="\n\n")
    swap = result["prompt_swap"]
    print(
        "visual_quality when only the prompt changes: raw score moves by "
        f"{100 * swap['mean_share']:.1f} % of its spread on average, "
        f"{100 * swap['p95_share']:.1f} % at the 95th percentile ({swap['num_swaps']} swaps)\n"
    )
    moved = result["image_damaged"]
    print(
        f"raw alignment moves by {moved['by_damage']:.2f} on average when the image is damaged, "
        f"by {moved['by_hard_swap']:.2f} by a hard swap\n"
    )
    for name, gate in GATES.items():
        found = result["accuracy"]["summary"][name]["accuracy"]
        print(f"{name}: {found:.3f} (gate {gate}: {'met' if found >= gate else 'not met'})")


if __name__ == "__main__":
    run(main)
