"""How far apart two results of the same work may lie where only its division into batches differs.

A batch of another size, another processor and another number of threads take other kernels, which
add float32 in another order. What is left of that after a whole pipeline is 1e-6 on one machine and
more than 1e-5 on the next. A row of another image, which is what such tests look for, moves the
tiny pipelines' pictures by up to 1 and the tiny critic's scores by 0.06 and more.
"""

from __future__ import annotations

__all__ = ["IMAGE_ROUNDING", "SCORE_ROUNDING"]

IMAGE_ROUNDING = 1e-3  # of values in 0..1 that a pipeline drew
SCORE_ROUNDING = 1e-4  # of scores in 0..1, raw scores, margins and hidden states of about 1
