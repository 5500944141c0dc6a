"""The types of links that the nodes of this pack have among themselves."""

from __future__ import annotations

from comfy_api.latest import io

__all__ = ["CRITIC", "LIST", "SCORES", "WATCH"]

CRITIC = io.Custom("ELIQ_CRITIC")  # a ManagedCritic
SCORES = io.Custom("ELIQ_SCORES")  # a ScoreTable: of one batch, a row an image
WATCH = io.Custom("ELIQ_WATCH")  # a SamplingWatch
LIST = io.Custom("ELIQ_LIST")  # a list as one value
