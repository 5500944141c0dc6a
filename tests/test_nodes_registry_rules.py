"""The rules of the Comfy Registry and of this house, read from the sources of the node pack."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACK = [ROOT / "__init__.py", *sorted((ROOT / "eliq_nodes").rglob("*.py"))]
SHIPPED = set(  # folders of the library that an installation from the registry has
    re.findall("^!/eliq/(.+)/$", (ROOT / ".comfyignore").read_text("utf-8"), re.MULTILINE)
)
LIBRARY = [
    path
    for path in sorted((ROOT / "eliq").rglob("*.py"))
    if path.parent.name == "eliq" or path.relative_to(ROOT / "eliq").parts[0] in SHIPPED
]
PYTHON = [*PACK, *LIBRARY]

NO_CALLS = {"eval", "exec", "compile", "__import__", "print"}
NO_ATTRIBUTES = {  # module.function, as it is written
    "os.system", "os.popen", "subprocess.run", "subprocess.Popen", "subprocess.call",
    "subprocess.check_call", "subprocess.check_output", "torch.load", "pickle.load",
    "pickle.loads", "marshal.loads",
}  # fmt: skip
NO_MODULES = {
    "pip", "subprocess", "pickle", "marshal", "ctypes", "urllib", "requests", "httpx", "aiohttp",
    "ftplib", "smtplib", "webbrowser", "telnetlib",
}  # fmt: skip
NOT_IN_COMFYUI = {"peft", "accelerate", "diffusers", "typer", "rich", "greenlet", "matplotlib"}
NETWORK_ROOM = "hub_files.py"  # of eliq_nodes: asked for by the user's click only
COMFYUI = {
    "comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "nodes", "server",
    "execution", "latent_preview", "node_helpers",
}  # fmt: skip


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def modules(part: ast.AST) -> set[str]:
    """Top names of all absolute imports in a part of a file."""
    found = set()
    for node in ast.walk(part):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", PYTHON, ids=named)
def test_nothing_is_evaluated_unpickled_or_run_in_a_shell(path):
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call):
            continue
        where = f"{named(path)}:{node.lineno}"
        if isinstance(node.func, ast.Name):
            assert node.func.id not in NO_CALLS, f"{where} calls {node.func.id}"
        written = ast.unparse(node.func)
        assert written not in NO_ATTRIBUTES, f"{where} calls {written}"
        for keyword in node.keywords:
            assert keyword.arg != "trust_remote_code" or not getattr(keyword.value, "value", True)


@pytest.mark.parametrize("path", PYTHON, ids=named)
def test_no_module_that_installs_unpickles_or_reaches_out(path):
    assert not modules(tree(path)) & NO_MODULES


@pytest.mark.parametrize("path", PACK, ids=named)
def test_comfyuis_own_requirements_are_enough(path):
    assert not modules(tree(path)) & NOT_IN_COMFYUI
    assert "eliq" not in modules(tree(path)), "the folder is on no path: from ..eliq import"


@pytest.mark.parametrize("path", PACK, ids=named)
def test_the_network_has_one_door_and_it_is_shut_at_import(path):
    if path.name != NETWORK_ROOM:
        assert "huggingface_hub" not in modules(tree(path)), "downloads belong to hub_files.py"
    for node in tree(path).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            assert not modules(node) & {"huggingface_hub", "transformers"}, named(path)
        # Definitions and constants alone: a call at the top could do anything.
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), f"{named(path)}:{node.lineno}"


@pytest.mark.parametrize("path", PACK, ids=named)
def test_no_routes_and_no_part_of_comfyui_is_replaced(path):
    text = path.read_text(encoding="utf-8")
    assert ".routes" not in text and "add_routes" not in text and "@server" not in text
    foreign = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            foreign |= {
                alias.asname or alias.name.split(".")[0]
                for alias in node.names
                if alias.name.split(".")[0] in {*COMFYUI, "torch", "transformers"}
            }
    for node in ast.walk(tree(path)):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            if isinstance(target, ast.Attribute):
                owner = ast.unparse(target).split(".")[0]
                assert owner not in foreign, f"{named(path)}:{node.lineno} sets {owner}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
            raise AssertionError(f"{named(path)}:{node.lineno} calls setattr")


def test_the_entry_defines_nothing_that_hides_the_nodes():
    """With NODE_CLASS_MAPPINGS beside it, ComfyUI would not ask `comfy_entrypoint`."""
    entry = tree(ROOT / "__init__.py")
    defined = {getattr(node, "name", "") for node in entry.body}
    assert "comfy_entrypoint" in defined
    text = (ROOT / "__init__.py").read_text(encoding="utf-8")
    assert "NODE_CLASS_MAPPINGS" not in text
    (web,) = re.findall(r'^WEB_DIRECTORY = "(.+)"', text, re.MULTILINE)
    assert (ROOT / web / "docs").is_dir(), "the page looks for the help pages there"
    assert not modules(ast.Module([n for n in entry.body if isinstance(n, ast.Import)], []))


@pytest.mark.parametrize("path", PACK[1:], ids=named)
def test_files_stay_small_and_do_not_assert(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250
    for node in ast.walk(tree(path)):
        assert not isinstance(node, ast.Assert), f"{named(path)}:{node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""
            # ComfyUI's interrupt is a BaseException: it must get through.
            assert caught not in ("", "BaseException"), f"{named(path)}:{node.lineno}"


def test_the_pack_ships_what_the_nodes_import():
    """A file that is shipped imports no folder of the library that is not."""
    folders = {path.name for path in (ROOT / "eliq").iterdir() if (path / "__init__.py").exists()}
    left_out = folders - SHIPPED
    assert "scorer" in SHIPPED and "cli" in left_out
    for path in PYTHON:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.level:
                parts = (node.module or "").split(".")
                names = {parts[0], *(parts[1:2] if parts[0] == "eliq" else ())}
                names |= set() if node.module else {alias.name for alias in node.names}
                assert not names & left_out, f"{named(path)}:{node.lineno} {names & left_out}"


def test_one_file_turns_channels_round():
    """BHWC <-> BCHW is in pixels.py alone."""
    for path in PACK:
        if path.name != "pixels.py":
            turned = re.findall(r"permute\(|movedim\(|moveaxis\(", path.read_text("utf-8"))
            assert not turned, f"{named(path)}: {turned}"


def test_scripts_of_the_page_evaluate_and_fetch_nothing():
    for path in (ROOT / "eliq_nodes").rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        for word in ("eval(", "new Function", "innerHTML", "fetch(", "XMLHttpRequest", "import("):
            assert word not in text, f"{named(path)}: {word}"


def test_what_the_manager_installs_has_floors_only():
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        requirement = line.partition("#")[0].strip()
        assert not re.search(r"<|==|~=|git\+|https?:", requirement), requirement
        assert re.split(r"\W", requirement)[0] not in {
            "peft", "accelerate", "diffusers", "typer", "rich", "torch", "greenlet",
        }  # fmt: skip


def test_the_registry_finds_what_it_asks_for():
    tomllib = pytest.importorskip("tomllib", reason="the standard library has it from 3.11")
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    comfy = data["tool"]["comfy"]
    assert comfy["PublisherId"] and comfy["DisplayName"] == "ELIQ" and "Icon" in comfy
    assert comfy["requires-comfyui"].startswith(">=")
    assert "web" not in comfy, "WEB_DIRECTORY says it; both would load everything twice"


LOCALES = {language: ROOT / "locales" / language / "nodeDefs.json" for language in ("en", "zh")}


def shape(value: object) -> object:
    """The keys of nested dictionaries, without what they hold."""
    return {k: shape(v) for k, v in value.items()} if isinstance(value, dict) else None


def texts(value: object) -> list[str]:
    return [t for v in value.values() for t in texts(v)] if isinstance(value, dict) else [value]


def test_chinese_says_all_that_english_says():
    english, chinese = (json.loads(path.read_text("utf-8")) for path in LOCALES.values())
    assert shape(english) == shape(chinese)
    for text in texts(english) + texts(chinese):
        assert text.strip() and not set("@{}|") & set(text), f"{text!r}: the page reads @{{}}| so"
    for name, node in chinese.items():
        assert re.search("[\u4e00-\u9fff]", node["description"]), name


def test_every_translated_node_is_one_of_the_pack():
    declared = set()
    for path in PACK:
        declared |= set(re.findall(r'node_id="(ELIQ\w+)"', path.read_text("utf-8")))
    assert set(json.loads(LOCALES["en"].read_text("utf-8"))) <= declared


def test_every_example_workflow_has_a_small_picture():
    folder = ROOT / "example_workflows"
    names = {path.stem for path in folder.glob("*.json")}
    assert names == {path.stem for path in folder.glob("*.jpg")} and len(names) >= 5
    pictures = [*folder.glob("*.jpg"), *(ROOT / "docs" / "pictures" / "comfyui").glob("*.jpg")]
    for picture in pictures:
        assert picture.stat().st_size < 150_000, f"{named(picture)} is too large"
