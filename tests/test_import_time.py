"""`import eliq` and `eliq --help` answer at once: what is heavy is imported where it is used."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("torch", "transformers", "diffusers", "peft", "accelerate", "numpy", "PIL")


def modules_after(code: str) -> set[str]:
    """The top-level modules loaded in a fresh interpreter after `code`."""
    program = f"import json, sys\n{code}\nsys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def test_import_eliq_loads_nothing_heavy():
    assert not modules_after("import eliq; eliq.__version__; dir(eliq)") & set(HEAVY)


def test_help_loads_neither_torch_nor_transformers():
    code = (
        "from eliq.cli import main\n"
        "sys.argv = ['eliq', '--help']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )
    assert not modules_after(code) & {"torch", "transformers"}


def test_every_public_name_exists():
    code = "import eliq\nfor name in eliq.__all__: getattr(eliq, name)"
    assert "torch" in modules_after(code)
