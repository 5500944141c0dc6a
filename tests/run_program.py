"""``eliq`` as a program of its own, for tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["COMMAND", "ENVIRONMENT", "eliq", "run_options"]

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = shutil.which("eliq", path=str(Path(sys.executable).parent))
# The installed command where there is one; else the same function, by the same Python.
COMMAND = (
    [INSTALLED]
    if INSTALLED
    else [sys.executable, "-c", "import sys; from eliq.cli import main; sys.exit(main())"]
)
_HOW_FAR = re.compile(r"^eliq: \d+ of \d+ images(, \d+ failed)?\n", re.MULTILINE)
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def eliq(*words, **options):
    """The finished command; of stderr without how far a run has come, which a slow machine says."""
    command = [*COMMAND, *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT, timeout=600, **options
    )
    done.stderr = _HOW_FAR.sub("", done.stderr)
    return done


def run_options(out, checkpoint):
    """Of every small run: one worker, parts of two images."""
    return [
        "--out", out, "--checkpoint", checkpoint, "--device", "cpu", "--workers", 1,
        "--part-size", 2, "--no-report",
    ]  # fmt: skip
