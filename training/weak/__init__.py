"""Weak supervision (section 4.1): a linear regressor on the frozen QQT, from a few opinions."""

from __future__ import annotations

from .features import Features, read_features
from .fold import fold_into_head
from .ridge import Ridge, fit_ridge
from .study import DEFAULT_SHARES, WeakStudy, study

__all__ = [
    "DEFAULT_SHARES",
    "Features",
    "Ridge",
    "WeakStudy",
    "fit_ridge",
    "fold_into_head",
    "read_features",
    "study",
]
