"""Ray decides where a unit is scored, and nothing else: the same rows, whoever is killed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("pyarrow", reason="needs eliq[bulk]")

from eliq.bulk import RunConfig, finish_run, iterate_rows, plan_run, run_local
from eliq.bulk.ray_cluster import actor_resources, connected
from eliq.bulk.ray_engine import run_ray
from eliq.errors import BulkError, ConfigError
from tests.hostile_images import picture

needs_ray = pytest.mark.skipif(os.name != "posix", reason="Ray's processes are looked up in /proc")


@pytest.fixture(scope="module")
def ray():
    """A cluster that all tests here share: to start one takes seconds."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray", reason="needs eliq[ray]")
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
        logging_level="ERROR", object_store_memory=100 << 20,
    )  # fmt: skip
    yield ray
    ray.shutdown()


@pytest.fixture(autouse=True)
def one_thread():
    """As Ray gives its workers: sums in another order differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config(tmp_path, tiny_checkpoint_dir) -> RunConfig:
    """18 pictures and one damaged file in parts of 4."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(18):
        size = (40 + 8 * (i % 3), 64)
        picture(random.Random(i), *size).save(folder / f"{i:02d}.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return RunConfig(
        os.fspath(folder),
        tmp_path / "out",
        checkpoint=os.fspath(tiny_checkpoint_dir),
        prompt="a red fox",
        workers=1,
        part_size=4,
    )


def rows(out_dir: Path) -> list[dict]:
    """All that two runs have in common: everything but the time."""
    names = [name for name in next(iterate_rows(out_dir)).schema.names if name != "ms"]
    return [row for batch in iterate_rows(out_dir, names) for row in batch.to_pylist()]


def unbroken(config: RunConfig) -> list[dict]:
    from dataclasses import replace

    alone = replace(config, out_dir=config.out_dir.with_name("alone"))
    run_local(alone, plan_run(alone))
    return rows(alone.out_dir)


def actor_pids() -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::UnitActor"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_what_it_refuses_before_ray_is_needed(config, monkeypatch):
    from dataclasses import replace

    with pytest.raises(ConfigError, match="a GPU of its own; found 'cuda:1'"):
        run_ray(replace(config, device="cuda:1"), plan_run(config))
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(BulkError, match=r"pip install 'eliq\[ray\]'"):
        run_ray(config, plan_run(config))


@needs_ray
def test_the_same_rows_as_without_ray(ray, config):
    seen = []
    run_ray(config, plan_run(config), observer=seen.append, num_actors=2)
    assert rows(config.out_dir) == unbroken(config)
    assert (seen[-1].num_done, seen[-1].num_failed, seen[-1].num_new) == (19, 1, 19)
    assert finish_run(config.out_dir)["num_images"] == 19
    run_ray(config, plan_run(config), observer=seen.append, num_actors=1)
    assert (seen[-1].num_done, seen[-1].num_new) == (19, 0), "nothing is done twice"


@needs_ray
def test_what_a_busy_cluster_has_no_room_for_is_not_waited_for(ray, config, monkeypatch):
    options = [{"num_cpus": 1}, {"num_cpus": 64}]
    monkeypatch.setattr("eliq.bulk.ray_engine.actor_resources", lambda *a, **k: options)
    monkeypatch.setattr("eliq.bulk.ray_engine._STOP_TIMEOUT_S", 600.0)  # nor at the end
    run_ray(config, plan_run(config))
    assert rows(config.out_dir) == unbroken(config)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([{"CPU": 16}], [{"num_cpus": 16, "scheduling_strategy": "SPREAD"}]),
        ([{"CPU": 1}], [{"num_cpus": 1, "scheduling_strategy": "SPREAD"}]),
        ([{"CPU": 4, "GPU": 8}], [{"num_gpus": 1, "num_cpus": 0.5}] * 8),
        ([{"CPU": 4, "GPU": 1}, {"CPU": 64, "GPU": 2}], [{"num_gpus": 1, "num_cpus": 4}] * 3),
        ([{"CPU": 8}, {"CPU": 8, "GPU": 1}], [{"num_gpus": 1, "num_cpus": 8}]),
    ],
)
def test_what_each_actor_gets_is_there(nodes, expected):
    """Each has its GPU, or its node, and never more processors than there are for it."""
    fake = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": node} for node in nodes])
    assert actor_resources(fake, None, wants_gpu=True) == expected


@needs_ray
@pytest.mark.slow
def test_a_killed_actor_costs_nothing_but_time(ray, config):
    killed = []

    def kill_one(progress) -> None:
        if progress.num_new and not killed:
            killed.extend(actor_pids()[:1])
            os.kill(killed[0], signal.SIGKILL)

    run_ray(config, plan_run(config), observer=kill_one, num_actors=2)
    assert killed and rows(config.out_dir) == unbroken(config)


@needs_ray
@pytest.mark.slow
def test_who_has_no_more_to_do_takes_the_unit_of_a_dead_one(ray, config, monkeypatch, tmp_path):
    from eliq.bulk import ray_engine
    from eliq.bulk.ray_actor import UnitActor

    died = tmp_path / "died"

    class DiesOnce(UnitActor):
        def score(self, unit):
            if unit == 4 and not died.exists():
                died.touch()
                time.sleep(10)  # till the other one is idle
                os._exit(7)
            return super().score(unit)

    started = []
    start = ray_engine._Pool._start
    monkeypatch.setattr(ray_engine, "UnitActor", DiesOnce)
    monkeypatch.setattr(
        ray_engine._Pool, "_start", lambda *given: (started.append(1), start(*given))
    )
    run_ray(config, plan_run(config), num_actors=2)
    assert died.exists() and len(started) == 2
    assert rows(config.out_dir) == unbroken(config)


@needs_ray
@pytest.mark.slow
def test_too_many_failures_end_the_run_and_keep_what_is_done(ray, config):
    from dataclasses import replace

    for name in ("00.png", "05.png"):
        (Path(config.source) / name).write_bytes(b"no picture")
    strict = replace(config, max_errors=1)
    with pytest.raises(BulkError, match="more than --max-errors 1"):
        run_ray(strict, plan_run(strict), num_actors=1)
    run_ray(config, plan_run(config), num_actors=1)
    assert rows(config.out_dir) == unbroken(config)


@needs_ray
@pytest.mark.slow
def test_a_node_that_does_not_see_the_files_says_so(ray, config, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    plan = plan_run(config)
    monkeypatch.setattr("eliq.bulk.ray_engine.os.getcwd", lambda: os.fspath(gone / "not here"))
    with pytest.raises(BulkError, match="does not see .*not here: the nodes of a cluster must"):
        run_ray(config, plan, num_actors=1)


@needs_ray
@pytest.mark.slow
def test_a_unit_that_ends_every_actor_is_named(ray, config, monkeypatch):
    from eliq.bulk import ray_engine
    from eliq.bulk.ray_actor import UnitActor

    class Doomed(UnitActor):
        def score(self, unit):
            if unit == 2:
                os._exit(7)
            return super().score(unit)

    monkeypatch.setattr(ray_engine, "UnitActor", Doomed)
    with pytest.raises(BulkError, match="unit 2 has ended 3 Ray workers; what is finished is kept"):
        run_ray(config, plan_run(config), num_actors=1)
    monkeypatch.undo()
    run_ray(config, plan_run(config), num_actors=1)
    assert rows(config.out_dir) == unbroken(config)


@pytest.mark.parametrize(
    "address, num_slow, num_starts, fails",
    [(None, 0, 1, False), (None, 2, 3, False), (None, 9, 3, True), ("10.0.0.1:6379", 1, 1, True)],
)
def test_a_node_of_ones_own_that_is_slow_to_start_is_started_anew(
    address, num_slow, num_starts, fails
):
    started, ended = [], []

    def init(**options):
        started.append(options["address"])
        if len(started) <= num_slow:
            raise Exception("the node\ntimed out")

    fake = SimpleNamespace(
        init=init, shutdown=lambda: ended.append(len(started)), is_initialized=lambda: False
    )
    if fails:
        where = "a cluster on this machine" if address is None else f"the cluster at {address}"
        with pytest.raises(BulkError, match=f"{where} does not answer: the node timed out"):
            with connected(fake, address):
                raise AssertionError("it has not started")
    else:
        with connected(fake, address):
            assert len(ended) == num_slow, "what of a slow node did start is ended"
    assert started == [address or "local"] * num_starts and ended[-1] == num_starts
