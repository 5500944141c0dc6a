"""What generators and editors are told, to make a worse image of the same content: plain data.

The paper's wordings are in an appendix that is not public: these are ours, untried on real models;
the gate counts how often each kind fails. A degraded prompt keeps the prompt whole and adds to it:
the content is asked for as before. Every text of an aspect names faults of that aspect alone.
"""

from __future__ import annotations

import numpy as np

__all__ = ["DEGRADED_LOOKS", "DEGRADED_PROMPTS", "EDIT_INSTRUCTIONS", "degrade", "edit_instruction"]

#: Technical: low-fidelity structures (section 3.2.3). The fault first: text encoders of 77 tokens
#: would cut it off behind a long prompt.
DEGRADED_PROMPTS: tuple[str, ...] = (
    "extremely blurry, out of focus, smeared details: {prompt}",
    "very low resolution, pixelated, heavy jpeg compression artifacts: {prompt}",
    "covered in heavy sensor noise and grain, unreadable detail: {prompt}",
    "malformed and melted structures, fused objects, broken geometry: {prompt}",
    "garbled textures, distorted shapes, glitch artifacts: {prompt}",
    "a corrupted, low-fidelity rendering, smudged surfaces, missing parts, of {prompt}",
    "an unfinished, badly rendered image, deformed outlines, ghosting, of {prompt}",
    "a damaged scan, banding, blocking, double edges, of {prompt}",
)

#: Aesthetic: degraded visual appearance, in focus and whole.
DEGRADED_LOOKS: tuple[str, ...] = (
    "ugly garish colours that clash, harsh flat flash lighting: {prompt}",
    "dull washed-out colours, grey flat light, lifeless: {prompt}",
    "badly underexposed, murky, muddy dark colours: {prompt}",
    "blown-out overexposed light, burnt-out highlights: {prompt}",
    "cluttered messy composition, distracting junk everywhere: {prompt}",
    "badly framed amateur snapshot, subject cut off at the edge, tilted horizon: {prompt}",
    "an unattractive, careless snapshot, no composition, ugly background, of {prompt}",
    "sickly green colour cast, ugly fluorescent light: {prompt}",
)

#: Aesthetic, for an instruction-editing model: composition or colour worse, content kept.
EDIT_INSTRUCTIONS: tuple[str, ...] = (
    "Make the colours garish and clashing. Keep every object where it is.",
    "Give the whole picture a sickly green colour cast and flat fluorescent light.",
    "Wash out the colours and remove the contrast, as in a faded grey snapshot.",
    "Make the lighting harsh and ugly, with burnt-out highlights. Keep the content.",
    "Make the picture far too dark and muddy, with the same content.",
    "Clutter the scene with distracting rubbish around the main subject.",
    "Tilt the camera strongly and frame the subject badly, cut off at the edge of the picture.",
    "Replace the background by an ugly, messy one. Keep the main subject as it is.",
)


def degrade(prompt: str, wordings: tuple[str, ...], rng: np.random.Generator) -> str:
    """The prompt in one of the wordings, drawn with `rng`; a closing full stop goes."""
    chosen = wordings[int(rng.integers(len(wordings)))]
    # As text, not by str.format: a prompt may hold braces.
    return chosen.replace("{prompt}", prompt.strip().rstrip(".,;"))


def edit_instruction(rng: np.random.Generator) -> str:
    """One of the instructions."""
    return EDIT_INSTRUCTIONS[int(rng.integers(len(EDIT_INSTRUCTIONS)))]
