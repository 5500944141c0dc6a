"""A Ray cluster for the time of a run: found or started, quiet, and what of it each actor gets."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import BulkError

__all__ = ["actor_resources", "connected", "import_ray"]

_logger = logging.getLogger("eliq")
_MOST_STARTS = 3  # Ray gives its node 30 s, which a machine with much else to do may need for it
_OBJECT_STORE_BYTES = 100 << 20  # only numbers of units and names of parts pass through it


def import_ray() -> Any:
    """The module `ray`, told to report to nobody.

    Raises:
        BulkError: it is not installed.
    """
    # Before the import, which reads them.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a warning about the future
    os.environ.setdefault("RAY_DISABLE_IMPORT_WARNING", "1")
    try:
        import ray
    except ImportError as error:
        raise BulkError("Ray is not installed: pip install 'eliq[ray]'") from error
    return ray


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connected to a cluster; one that was made for this run is ended with it."""
    if ray.is_initialized():  # by the program that called
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    else:
        options["address"] = address
    handler = _sigterm_handler()
    try:
        _init(ray, options)
    finally:
        if handler is not None:  # Ray's own would end the command with an exit code of its own
            signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _init(ray: Any, options: dict[str, Any]) -> None:
    """`ray.init`; a node of one's own that is slow to start, on a busy machine, is started anew."""
    is_local = options["address"] == "local"
    for attempt in range(_MOST_STARTS if is_local else 1):
        try:
            ray.init(**options)
            return
        except Exception as error:  # Ray raises bare exceptions for a node that is slow to start
            failure = error
            ray.shutdown()  # what of it did start
        _logger.debug("start %d of a Ray cluster: %s", attempt + 1, failure)
    where = "a cluster on this machine" if is_local else f"the cluster at {options['address']}"
    reason = " ".join(str(failure).split())[:300]
    raise BulkError(f"Ray: {where} does not answer: {reason}") from failure


def _sigterm_handler() -> Any:
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.getsignal(signal.SIGTERM)


def actor_resources(ray: Any, num_actors: int | None, *, wants_gpu: bool) -> list[dict[str, Any]]:
    """What each actor is given: a GPU, or a node's processors; the actors spread over the nodes.

    Raises:
        BulkError: the cluster has no processors.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in nodes if node.get("CPU")]
    if not nodes:
        raise BulkError("the Ray cluster has no node with processors")
    num_gpus = int(sum(node.get("GPU", 0) for node in nodes)) if wants_gpu else 0
    if num_gpus:
        # A machine with fewer processors than GPUs has a part of one for each.
        share = min(node["CPU"] / node["GPU"] for node in nodes if node.get("GPU"))
        options = {"num_gpus": 1, "num_cpus": int(share) if share >= 1 else share}
        return [dict(options) for _ in range(min(num_actors or num_gpus, num_gpus))]
    count = num_actors or len(nodes)
    share = min(node["CPU"] for node in nodes) / -(-count // len(nodes))
    options = {"num_cpus": int(share) if share >= 1 else share, "scheduling_strategy": "SPREAD"}
    return [dict(options) for _ in range(count)]
