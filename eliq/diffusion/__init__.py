"""Scores inside a diffusers pipeline: best-of-N, re-roll, a step callback, early pruning.

    from eliq.diffusion import best_of_n, reroll, ScoreCallback

Imported at once, not name by name: `best_of_n` and `reroll` are functions as well as the files they
lie in, and a lazy name would be the file whenever that was imported first. What this costs is
torch; diffusers comes with the user's own pipeline and transformers with the first scorer.
"""

from __future__ import annotations

from .best_of_n import best_of_n
from .callback import ScoreCallback
from .candidates import BestOfNResult, Candidate, RerollResult
from .clean_estimate import SchedulerTap, StepEstimate
from .decoding import latents_to_images
from .one_image import GeneratedImage, generate_image
from .pipelines import PipelineFacts, describe_pipeline
from .prune_report import PruneReport
from .prune_schedule import PruneSchedule
from .pruning import run_pruned
from .ranking import combine_scores
from .record import make_record, read_record, regenerate, save_png
from .reroll import reroll
from .unfinished import unfinished_images

__all__ = [
    "BestOfNResult",
    "Candidate",
    "GeneratedImage",
    "PipelineFacts",
    "PruneReport",
    "PruneSchedule",
    "RerollResult",
    "SchedulerTap",
    "ScoreCallback",
    "StepEstimate",
    "best_of_n",
    "combine_scores",
    "describe_pipeline",
    "generate_image",
    "latents_to_images",
    "make_record",
    "read_record",
    "regenerate",
    "reroll",
    "run_pruned",
    "save_png",
    "unfinished_images",
]
