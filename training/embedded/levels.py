"""What the phases of the pretraining are made of: how hard, how large, how much of what."""

from __future__ import annotations

from .batches import Level

__all__ = ["CHECK_EVERY", "LEVELS", "NUM_STEPS", "SCHEDULE_STEPS", "SECOND_LEVEL", "THIRD_LEVEL"]

# By phase: the steps of the schedule, and where a run is stopped: the end of the second orders
# photographs worse than its middle, and the third is best after 500 steps (LOG).
SCHEDULE_STEPS = {1: 5000, 2: 3000, 3: 3000}
NUM_STEPS = {1: 5000, 2: 2400, 3: 750}
CHECK_EVERY = {1: 500, 2: 500, 3: 250}
# (start, objects, backgrounds, groups, relations, share of ladder batches, px, photographed)
LEVELS = (
    Level(0.00, 25, 9, 1, False, 0.20),
    Level(0.096, 60, 16, 2, True, 0.25),
    Level(0.20, 110, 24, 2, True, 0.35),
    # Ladders are learnt first; prompts, which come late and at once, have most of the middle.
    Level(0.32, 110, 24, 2, True, 0.15),
    Level(0.415, 165, 24, 2, True, 0.15),
    Level(0.51, 165, 24, 2, True, 0.45, (128, 128, 160, 192)),
    Level(0.68, 165, 24, 2, True, 0.50, (128, 128, 160, 192), 0.75),
)
# Prompts at the size that scenes are scored at (counts learnt at 192 px fail at 256), and half of
# the ladders on pictures larger than what is read of them, as those of users are.
SECOND_LEVEL = Level(
    0.0, 165, 24, 2, True, 0.55, (128, 192, 256, 256), 0.95,
    ladder_px=(192, 256, 320, 464, 512, 576), photolike=0.6, related=0.35,
)  # fmt: skip
# Ladders of photographs, and prompts as before so that they are not forgotten.
THIRD_LEVEL = Level(
    0.0, 165, 24, 2, True, 0.75, (256,), 0.7,
    ladder_px=(192, 256, 320, 384, 448, 512), photolike=0.7, related=0.35,
)  # fmt: skip
