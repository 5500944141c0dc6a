"""Negatives that generators make, the gate they must pass, and the set they go into (3.2.3)."""

from __future__ import annotations

from .config import DEFAULT_SHARES, WEAK_MODELS, GateConfig, NegativesConfig
from .gate import REASONS, Verdict, judge
from .gating import GateReport, run_gate
from .make import GenerationReport, generate_negatives
from .opinions import CriticOpinion, Opinion, PyiqaOpinion, load_opinion
from .plan import Job, Positive, plan_jobs, read_positive_images, read_variants
from .set import NegativesReport, make_negatives

__all__ = [
    "CriticOpinion",
    "DEFAULT_SHARES",
    "GateConfig",
    "GateReport",
    "GenerationReport",
    "Job",
    "NegativesConfig",
    "NegativesReport",
    "Opinion",
    "Positive",
    "PyiqaOpinion",
    "REASONS",
    "Verdict",
    "WEAK_MODELS",
    "generate_negatives",
    "judge",
    "load_opinion",
    "make_negatives",
    "plan_jobs",
    "read_positive_images",
    "read_variants",
    "run_gate",
]
