"""The imports of `eliq` only go down: each room stands on a floor and knows no room above it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "eliq"

FLOORS = {
    "errors": 0, "scores": 0, "shown_text": 0,
    "images": 1, "prompts": 1, "prompt_lists": 1, "prompt_paths": 1,
    "patches": 1, "instructions": 1,
    "losses": 1, "calibration": 1, "correlation": 1,
    "image_checks": 1, "image_decoding": 1,
    "packing": 2, "patch_projection": 2, "vision_grids": 2, "backbone": 2, "head": 2, "hub": 2,
    "checkpoint": 3,
    "scorer": 4,
    "supervision": 5, "diffusion": 5, "ip_iqa": 5, "cli": 5, "contact_sheet": 5, "loading": 5,
    "bulk": 5, "report": 5, "keep": 5, "interop": 5,
}  # fmt: skip
OUTSIDE = ("eliq_nodes", "training", "examples", "benchmarks", "tests")  # floor 6: they use eliq
# docs/decisions/0005-the-benchmark-of-scenes-imports-the-renderer.md
# docs/decisions/0006-benchmarks-of-training-import-it.md
SIDEWAYS = {
    ("benchmarks/scenes.py", "training"),
    ("benchmarks/stage1.py", "training"),
    ("benchmarks/stage2.py", "training"),
    ("benchmarks/training_precision.py", "training"),
}
ONLY_IN = {
    "diffusers": {"diffusion"},
    "greenlet": {"diffusion"},
    "typer": {"cli"},
    "ray": {"bulk"},
    "peft": set(),
    "accelerate": set(),
}
OTHERS = {"torchvision", "matplotlib", "scipy", "skimage", "sklearn", "comfy", "comfy_api"}


def is_lazy(node: ast.AST) -> bool:
    """Whether imports below this node wait: in a function, or for a type checker only."""
    typing = isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    return typing or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def imports(path: Path) -> list[tuple[int, str, int, bool]]:
    """(line, dotted module, relative level, at the top of the file) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    outer = [node for node in ast.walk(tree) if is_lazy(node)]
    lazy = {id(inner) for node in outer for inner in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, 0, id(node) not in lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(node.lineno, name, node.level, id(node) not in lazy) for name in names]
    return found


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def room_of(path: Path) -> str:
    """`eliq/cli/main.py` and `eliq/cli.py` are both the room `cli`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def target_room(path: Path, module: str, level: int) -> str | None:
    """The room that a relative import reaches, or None where it stays inside its own package."""
    parents = path.relative_to(PACKAGE).parts[:-1]
    base = parents[: len(parents) - (level - 1)]
    return (base + tuple(module.split(".")))[0] if not base else None


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in sources("eliq")} - {"__init__", "__main__", "embedded"}
    assert rooms <= set(FLOORS), f"name the floor of {sorted(rooms - set(FLOORS))} in FLOORS"


@pytest.mark.parametrize("path", sources("eliq"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    room = room_of(path)
    for line, module, level, _ in imports(path):
        where = f"{path.relative_to(ROOT)}:{line}"
        if level == 0:
            top = module.split(".")[0]
            assert top != "eliq", f"{where}: inside eliq/ imports of eliq are relative"
            assert top not in OUTSIDE, f"{where}: eliq knows nothing of {top}"
            assert top not in OTHERS, f"{where}: {top} is no dependency of eliq"
            assert room in ONLY_IN.get(top, {room}), f"{where}: {top} belongs to {ONLY_IN[top]}"
        elif room not in ("__init__", "__main__"):
            target = target_room(path, module, level)
            if target in FLOORS and target != room:
                assert FLOORS[target] <= FLOORS[room], (
                    f"{where}: {room} (floor {FLOORS[room]}) imports {target} (floor "
                    f"{FLOORS[target]})"
                )


def test_no_cycles():
    edges = {
        path: {
            other
            for _, module, level, _ in imports(path)
            if level
            for other in [target_room(path, module, level)]
            if other
        } - {room_of(path)}
        for path in sources("eliq")
        if room_of(path) != "__init__"
    }  # fmt: skip
    graph: dict[str, set[str]] = {}
    for path, targets in edges.items():
        graph.setdefault(room_of(path), set()).update(targets)
    done: set[str] = set()

    def visit(room: str, trail: tuple[str, ...]) -> None:
        assert room not in trail, f"import cycle: {' -> '.join((*trail, room))}"
        if room not in done:
            for target in graph.get(room, ()):
                visit(target, (*trail, room))
            done.add(room)

    for room in graph:
        visit(room, ())


@pytest.mark.parametrize("folder", [f for f in OUTSIDE if f != "tests"])
def test_the_top_floor_is_not_shared(folder):
    """Training, examples, benchmarks and nodes use eliq and never one another."""
    others = set(OUTSIDE) - {folder}
    for path in sources(folder):
        for line, module, level, _ in imports(path):
            top = module.split(".")[0]
            if (path.relative_to(ROOT).as_posix(), top) in SIDEWAYS:
                continue
            assert level or top not in others, f"{path.relative_to(ROOT)}:{line} imports {top}"


@pytest.mark.parametrize("folder", ["benchmarks", "examples"])
def test_peft_and_accelerate_stay_where_training_runs(folder):
    for path in sources(folder):
        for line, module, _, _ in imports(path):
            top = module.split(".")[0]
            assert top not in ("peft", "accelerate"), f"{path.relative_to(ROOT)}:{line}: {top}"


def test_the_package_imports_nothing_heavy_at_its_top():
    """`import eliq` is for everybody; torch and transformers come with the first name used."""
    for line, module, level, at_top in imports(PACKAGE / "__init__.py"):
        light = level or module.split(".")[0] in sys.stdlib_module_names
        assert light, f"eliq/__init__.py:{line} imports {module}"
        if level and at_top:
            assert module in ("errors",), f"eliq/__init__.py:{line} imports {module} at its top"
