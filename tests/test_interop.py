"""Doors to other tools: CSV, Label Studio, FiftyOne, pyiqa, torchmetrics."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow", reason="runs need pyarrow: pip install 'eliq[bulk]'")
from benchmarks.made_run import make_run  # noqa: E402
from eliq.cli import main  # noqa: E402
from eliq.errors import BulkError, ConfigError  # noqa: E402
from eliq.interop import LABEL_CONFIG, export_csv, export_fiftyone  # noqa: E402
from eliq.interop.pyiqa import Eliq, register  # noqa: E402
from eliq.interop.tables import CSV_COLUMNS  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


class RedScorer:
    """Visual quality = red, alignment = green, NaN without a prompt."""

    def score(self, images, prompts=None):
        prompts = [None] * len(images) if prompts is None else prompts
        nan = torch.tensor(float("nan"))
        green = [image[1].mean() if p else nan for image, p in zip(images, prompts, strict=True)]
        return SimpleNamespace(
            visual_quality=images[:, 0].mean(dim=(1, 2)).float(), alignment=torch.stack(green)
        )


def flat(*colours):
    """Images of one colour each, float [B,3,4,4]."""
    return torch.tensor(colours)[:, :, None, None].expand(-1, -1, 4, 4)


@pytest.fixture
def run(tmp_path):
    changed = {0: {"prompt": "=1+1, \"quoted\"\nand more", "path": "-a.png", "visual_quality": 0.7,
                   "alignment": 0.1, "status": "ok", "error_class": None, "error": None,
                   "flags": ["x", "y"]}}  # fmt: skip
    return make_run(tmp_path / "scored", 30, changed=changed, thumbnail_px=16), tmp_path


def call(capsys, *argv):
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_csv_gives_the_scores_back(run, capsys, monkeypatch):
    rows, folder = run
    monkeypatch.chdir(folder)  # where the run began
    code, out, err = call(capsys, "export", folder / "scored", "--to", "csv")
    assert code == 0 and not err
    lines = list(csv.DictReader(io.StringIO(out, newline="")))
    assert tuple(lines[0]) == CSV_COLUMNS and len(lines) == 30
    for line, row in zip(lines, rows, strict=True):
        for name in ("visual_quality", "alignment", "aspect_technical"):
            assert line[name] == "" if row[name] is None else (
                np.float32(line[name]) == np.float32(row[name])
            )  # fmt: skip
    assert lines[0]["prompt"] == '\'=1+1, "quoted"\nand more' and lines[0]["path"] == "./-a.png"
    assert lines[0]["flags"] == "x y"
    target = folder / "kept.csv"
    code, out, err = call(capsys, "export", folder / "scored", "--to", "csv", "--out", target,
                          "--min-visual-quality", ".5")  # fmt: skip
    kept = sum((row["visual_quality"] or 0) >= 0.5 for row in rows)
    assert code == 0 and not out and f"{kept} images exported" in err
    assert len(list(csv.DictReader(target.open(newline="", encoding="utf-8")))) == kept


def test_csv_names_paths_as_they_are_called_from_here(run, capsys, monkeypatch):
    rows, folder = run
    for here, start in ((folder / "scored", f"{folder}/"), (folder.parent, f"{folder.name}/")):
        monkeypatch.chdir(here)
        code, out, _ = call(capsys, "export", folder / "scored", "--to", "csv")
        paths = [line["path"] for line in csv.DictReader(io.StringIO(out, newline=""))]
        assert code == 0 and paths == [f"{start}{row['path']}" for row in rows]


def test_label_studio_tasks(run, capsys):
    rows, folder = run
    code, out, err = call(capsys, "export", folder / "scored", "--to", "label-studio", "--root",
                          folder)  # fmt: skip
    tasks = json.loads(out)
    assert code == 0 and len(tasks) == 30
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=-a.png"
    assert tasks[1]["data"]["image"].endswith("images/batch_000/000001.png")
    (prediction,) = tasks[0]["predictions"]
    values = {one["from_name"]: one["value"]["number"] for one in prediction["result"]}
    assert values == {"visual_quality": 0.7, "alignment": 0.1} and prediction["score"] == 0.7
    for name in values:
        assert f'<Number name="{name}" toName="image"' in LABEL_CONFIG
    failed = [task for task in tasks if task["data"]["status"] == "failed"]
    assert all("predictions" not in task for task in failed)
    (folder / "elsewhere").mkdir()
    code, out, err = call(capsys, "export", folder / "scored", "--to", "label-studio", "--root",
                          folder / "elsewhere", "--out", folder / "t.json")  # fmt: skip
    assert code == 1 and "lies outside" in err and not (folder / "t.json").exists()


@pytest.mark.parametrize(
    "words",
    [["--to", "fiftyone", "--out", "x"], ["--to", "csv", "--name", "x"],
     ["--to", "csv", "--root", "x"], ["--to", "excel"], []],
)  # fmt: skip
def test_wrong_usage(run, capsys, words):
    code, out, err = call(capsys, "export", run[1] / "scored", *words)
    assert code == 2 and not out and err.count("\n") == 1


class FakeFiftyOne(ModuleType):
    """As much of FiftyOne's interface as the export uses; its database is a dict."""

    def __init__(self):
        super().__init__("fiftyone")
        self.datasets = {}
        self.dataset_exists = self.datasets.__contains__
        self.Sample = SimpleNamespace
        fake = self

        class Dataset(list):
            def __init__(self, name, persistent):
                assert persistent
                self.name = name
                fake.datasets[name] = self

            def add_samples(self, samples, progress):
                self.extend(samples)

            def delete(self):
                del fake.datasets[self.name]

        self.Dataset = Dataset


def test_a_fiftyone_dataset_is_whole_or_not_there(run, capsys, monkeypatch):
    """Against a stand-in: the real one needs a MongoDB server."""
    rows, folder = run
    fake = FakeFiftyOne()
    monkeypatch.setitem(sys.modules, "fiftyone", fake)
    code, out, err = call(capsys, "export", folder / "scored", "--to", "fiftyone")
    assert code == 0 and "30 images exported to FiftyOne's dataset eliq-scored" in err
    first, *others = fake.datasets["eliq-scored"]
    assert first.filepath == str(folder / "-a.png") and first.tags == ["x", "y"]
    assert first.visual_quality == pytest.approx(0.7) and len(others) == 29
    failed = [sample for sample in others if sample.status == "failed"]
    assert all(not hasattr(sample, "visual_quality") for sample in failed)
    code, _, err = call(capsys, "export", folder / "scored", "--to", "fiftyone")
    assert code == 1 and "--name" in err
    with pytest.raises(BulkError, match="tar"):
        export_fiftyone([*rows[:2], {**rows[2], "member": "x.png"}], "half", run_dir=folder)
    assert "half" not in fake.datasets
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    code, _, err = call(capsys, "export", folder / "scored", "--to", "fiftyone")
    assert code == 1 and "pip install fiftyone" in err


class FakeRegistry(dict):
    """pyiqa's registry: by the name of the class; a name twice is an error."""

    def register(self, found: Callable) -> None:
        assert found.__name__ not in self
        self[found.__name__] = found


@pytest.fixture
def fake_pyiqa(monkeypatch):
    """The two tables of pyiqa, which itself needs torchvision to be imported."""
    names = ("pyiqa", "pyiqa.utils", "pyiqa.utils.registry", "pyiqa.default_model_configs")
    modules = {name: ModuleType(name) for name in names}
    modules["pyiqa.utils.registry"].ARCH_REGISTRY = FakeRegistry()
    modules["pyiqa.default_model_configs"].DEFAULT_CONFIGS = {}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return (modules["pyiqa.utils.registry"].ARCH_REGISTRY,
            modules["pyiqa.default_model_configs"].DEFAULT_CONFIGS)  # fmt: skip


def test_pyiqa_finds_both_metrics(fake_pyiqa):
    registry, configs = fake_pyiqa
    register()
    register()  # again does no harm
    for name, expected in (("eliq", [0.2, 0.9]), ("eliq-alignment", [0.4, 0.5])):
        options = dict(configs[name]["metric_opts"])
        assert configs[name]["metric_mode"] == "NR" and not configs[name].get("lower_better")
        network = registry[options.pop("type")](**options, scorer=RedScorer())
        assert isinstance(network, torch.nn.Module) and not list(network.parameters())
        scores = network(flat((0.2, 0.4, 0.0), (0.9, 0.5, 0.0)), caption_list=["a", "b"])
        assert scores.tolist() == pytest.approx(expected)


def test_pyiqa_in_grey_and_what_is_refused(fake_pyiqa, monkeypatch):
    network = Eliq(scorer=RedScorer())
    grey = torch.full((2, 1, 4, 4), 1.0 + 5e-7)  # pyiqa lets a rounding error pass
    assert network(grey).tolist() == [1.0, 1.0]
    with pytest.raises(ConfigError, match="caption_list"):
        Eliq("alignment", scorer=RedScorer())(flat((0.1, 0.2, 0.3)))
    with pytest.raises(ConfigError, match="expected one of"):
        Eliq("beauty")
    monkeypatch.setitem(sys.modules, "pyiqa.utils.registry", None)
    with pytest.raises(ConfigError, match="pip install pyiqa"):
        register()


def test_the_package_names_its_entry_point():
    tomllib = pytest.importorskip("tomllib", reason="the standard library has it from 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"]["pyiqa.archs"]["eliq"].partition(":")
    assert (module, name) == (register.__module__, register.__name__)


def test_torchmetrics_means_of_what_has_a_score():
    pytest.importorskip("torchmetrics", reason="the metric needs torchmetrics")
    from eliq.interop.torchmetrics import EliqScore

    metric = EliqScore(RedScorer())
    assert metric.higher_is_better and not metric.is_differentiable
    metric.update(flat((0.25, 0.5, 0.0), (0.75, 1.0, 0.0)), ["a", None])
    metric.update(flat((float("nan"), 0.25, 0.0)), ["c"])  # could not be scored
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found == {"visual_quality": 0.5, "alignment": 0.375, "num_visual_quality": 2,
                     "num_alignment": 2}  # fmt: skip
    metric.reset()
    metric.update(flat((1.0, 0.0, 0.0)))
    assert float(metric.compute()["visual_quality"]) == 1.0
    assert torch.isnan(metric.compute()["alignment"])
    batch = metric(flat((0.5, 0.0, 0.0)))  # forward: of this batch, and into the whole
    assert float(batch["visual_quality"]) == 0.5
    assert float(metric.compute()["visual_quality"]) == 0.75


def test_torchmetrics_over_two_processes_is_as_in_one(tmp_path):
    """Unequal shares, of which one has no prompt at all: means are of images, not of processes."""
    pytest.importorskip("torchmetrics", reason="the metric needs torchmetrics")
    from eliq.interop.torchmetrics import EliqScore

    images = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    prompts = [None, "a", "b", "c", "d"]
    alone = EliqScore(RedScorer())
    alone.update(images, prompts)
    shares = [(images[:1], prompts[:1]), (images[1:], prompts[1:])]
    context = torch.multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_one_of_two, args=(rank, tmp_path, *share))
        for rank, share in enumerate(shares)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
        assert process.exitcode == 0
    expected = {name: float(value) for name, value in alone.compute().items()}
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found == pytest.approx(expected, abs=1e-12) and found["num_alignment"] == 4


def _one_of_two(rank: int, folder: Path, images: torch.Tensor, prompts: list) -> None:
    from eliq.interop.torchmetrics import EliqScore

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    metric = EliqScore(RedScorer())
    metric.update(images, prompts)
    found = {name: float(value) for name, value in metric.compute().items()}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def test_export_of_nothing(tmp_path):
    file = io.StringIO()
    assert export_csv([], file) == 0 and file.getvalue().startswith("path,")
