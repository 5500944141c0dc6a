"""Models of the hub on this machine, and their download. Nothing of ComfyUI.

`download` is the one function of the pack that reaches for a network, and it does so only where
the user asked. What it fetches lies in a folder of ComfyUI's models, in the layout of the hub's
own cache; that cache, in the user's home, is read but never written to.
"""

from __future__ import annotations

import fnmatch
import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..eliq.errors import CheckpointError, EliqError
from .model_kinds import FILES, check_kind, is_whole

__all__ = ["address", "download", "find_cached"]

_POLL_S = 0.25


class _Stopped(Exception):
    """The user no longer wants the file that is being fetched."""


def address(hub_id: str, revision: str | None = None) -> str:
    """Where a model can be had with a browser."""
    return f"https://huggingface.co/{hub_id}" + (f"/tree/{revision}" if revision else "")


def find_cached(
    hub_id: str, kind: str, *, cache_dir: Path | None = None, revision: str | None = None
) -> Path | None:
    """The folder of a model that was downloaded whole, or None; no network.

    Args:
        kind: `CRITIC` or `QWEN_VL` of model_kinds.
        cache_dir: None = the hub's own cache.
        revision: commit, branch or tag; None = the branch "main".
    """
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(
        hub_id, "config.json", cache_dir=cache_dir, revision=revision or "main"
    )
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if is_whole(folder, kind) else None


def download(
    hub_id: str,
    kind: str,
    *,
    cache_dir: Path,
    on_progress: Callable[[int, int], None],
    revision: str | None = None,
    endpoint: str | None = None,
) -> Path:
    """Fetch a model and give its folder; what lies there already is not fetched again.

    The configuration comes first: gigabytes of a model of another kind are not fetched to be
    refused. Only configuration, tokenizer and safetensors files are asked for.

    Args:
        on_progress: called a few times a second with the bytes that are there and those of all
            files; what it raises stops the download, which goes on from there the next time.
        endpoint: of the hub; None = Hugging Face, or what HF_ENDPOINT names.

    Raises:
        CheckpointError, BackboneError: no such model, none that this user may read, one of
            another kind, or no network: one line that says which.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(
            f"{hub_id} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it: unset it, "
            f"or get {address(hub_id, revision)} elsewhere"
        )
    try:
        found = HfApi(endpoint=endpoint).model_info(
            hub_id, revision=revision, files_metadata=True, timeout=30
        )
        sizes = {
            file.rfilename: file.size or 0
            for file in found.siblings or ()
            if any(fnmatch.fnmatchcase(file.rfilename, pattern) for pattern in FILES[kind])
        }
        if "config.json" not in sizes:
            raise CheckpointError(f"expected a {kind} in {hub_id}, found no config.json there")
        job = _Job(hub_id, found.sha, cache_dir, endpoint)
        config = job.run({"config.json": sizes.pop("config.json")}, on_progress)
        check_kind(config.parent, kind, hub_id)
        job.run(sizes, on_progress)
    except EliqError:
        raise
    except Exception as error:  # the library's classes differ between its versions
        raise CheckpointError(_reason(hub_id, error)) from error
    if not is_whole(config.parent, kind):
        raise CheckpointError(f"{hub_id} lacks weights in safetensors: it cannot be loaded")
    if revision is None or revision != found.sha:
        # As the library does for whole snapshots: the branch is found again without a network.
        ref = config.parent.parent.parent / "refs" / (revision or "main")
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(found.sha, encoding="utf-8")
    return config.parent


class _Job:
    """Fetches files one after another beside the thread that reports and hears an interrupt."""

    def __init__(self, hub_id: str, sha: str, cache_dir: Path, endpoint: str | None) -> None:
        self._hub_id, self._sha, self._cache_dir, self._endpoint = hub_id, sha, cache_dir, endpoint
        self._blobs = cache_dir / ("models--" + hub_id.replace("/", "--")) / "blobs"
        self._stop = threading.Event()

    def run(self, sizes: dict[str, int], on_progress: Callable[[int, int], None]) -> Path:
        """Fetch files of these sizes; gives the path of the last one."""
        before, total = self._bytes_there(), sum(sizes.values())
        outcome: list[Any] = []
        thread = threading.Thread(target=self._fetch, args=(list(sizes), outcome), daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                on_progress(min(self._bytes_there() - before, total), total)
                thread.join(_POLL_S)
        finally:
            self._stop.set()
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        self._stop.clear()
        on_progress(total, total)
        return outcome[0]

    def _fetch(self, names: list[str], outcome: list[Any]) -> None:
        from huggingface_hub import hf_hub_download

        options: dict[str, Any] = {"cache_dir": self._cache_dir, "revision": self._sha}
        if "tqdm_class" in inspect.signature(hf_hub_download).parameters:
            options["tqdm_class"] = _bar_that_stops(self._stop)
        path = None
        try:
            for name in names:
                if self._stop.is_set():
                    raise _Stopped
                path = hf_hub_download(self._hub_id, name, endpoint=self._endpoint, **options)
        except Exception as error:  # handed to the other thread
            outcome.append(error)
        else:
            outcome.append(Path(path) if path else self._cache_dir)

    def _bytes_there(self) -> int:
        """Bytes in the model's folder, unfinished files included."""
        total = 0
        for path in self._blobs.glob("*"):
            try:
                total += path.stat().st_size
            except OSError:  # finished and renamed just now
                continue
        return total


def _bar_that_stops(stop: threading.Event) -> type:
    """A silent progress bar for the hub's library, which ends a download when it is told to."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if stop.is_set():
                raise _Stopped
            return super().update(n)

    return Bar


def _reason(hub_id: str, error: Exception) -> str:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        return (
            f"{hub_id} asks for an agreed licence: accept it on {address(hub_id)}, then log in "
            "with `hf auth login`"
        )
    if "RevisionNotFoundError" in kinds:
        return f"the hub has no such revision of {hub_id}: see {address(hub_id)}"
    if "RepositoryNotFoundError" in kinds:
        return f"the hub has no model {hub_id} that you may read: check the spelling"
    if isinstance(error, OSError) and "Connection" not in type(error).__name__:
        return f"{hub_id} could not be fetched ({type(error).__name__}: {error}): try again"
    return (
        f"{hub_id} could not be fetched ({type(error).__name__}): check the network and try "
        f"again, or get {address(hub_id)} with a browser"
    )
