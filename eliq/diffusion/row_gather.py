"""Row-gather: a denoiser that runs only the rows of candidates that are still alive.

The pipeline, its scheduler and its generators keep the full batch; only inside the denoiser's call
are the kept rows taken out, run, and put back. Rows of dropped candidates are filled with copies
of a kept row, so what becomes of them does not matter, and what becomes of the kept rows is the
same as without it. At the end the autoencoder is given the kept rows alone.

Shapes: N candidates; a call has G * N rows, G = 1, or 2 with guidance in one batch (all rows
without the prompt first, then all with it); K of the N are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DiffusionError

__all__ = ["RowGather"]

# Tables of positions, shared by all rows: their first dimension is a length that may equal G * N.
_SHARED = frozenset({"img_ids", "txt_ids", "image_rotary_emb", "freqs_cis", "rotary_emb"})
_INPUT_NAMES = ("hidden_states", "sample", "x")  # of the latents, where they are passed by name


class RowGather:
    """Context manager: inside it, `denoisers` run the kept rows only.

        with RowGather([pipe.unet], 8, vae=pipe.vae) as gather:
            ...                    # somewhere in the loop: gather.keep_only([0, 3])

    Everything patched is restored on leaving, after an exception too. It can be nested.

    Args:
        denoisers: modules called once or more a step with G * N rows.
        num_candidates: N >= 1.
        vae: its `decode` gets the kept rows when it is given all N; None = it is left alone.

    Attributes:
        keep: indices of the candidates that are alive, ascending.
        rows_run: denoiser rows computed. rows_full: the same if nothing had been dropped.
        decodes: rows that `vae.decode` ran.
    """

    def __init__(
        self, denoisers: Sequence[nn.Module], num_candidates: int, *, vae: nn.Module | None = None
    ) -> None:
        if num_candidates < 1 or not denoisers:
            raise DiffusionError(
                f"row-gather: expected a denoiser and at least one candidate, found "
                f"{len(denoisers)} and {num_candidates}"
            )
        self.num_candidates = num_candidates
        self.keep = tuple(range(num_candidates))
        self.rows_run = self.rows_full = self.decodes = 0
        self._denoisers = list(denoisers)
        self._vae = vae
        self._layouts: dict[tuple[int, bool], _Layout] = {}  # of the current `keep`
        self._running: dict[int, _Layout] = {}  # the call in progress of each denoiser
        self._undo = ExitStack()

    def __enter__(self) -> RowGather:
        with ExitStack() as undo:  # undone at once if the second of two patches fails
            for denoiser in self._denoisers:
                self._patch_denoiser(denoiser, undo)
            if self._vae is not None:
                _replace(self._vae, "decode", self._gathered_decode(self._vae.decode), undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.clear()
        self._undo.close()

    def keep_only(self, keep: Sequence[int]) -> None:
        """From the next call on run these candidates only; dropped ones never come back.

        Step caches of the denoisers hold rows of the old batch, so they are emptied.

        Raises:
            DiffusionError: none, or one that is not alive.
        """
        chosen = tuple(sorted(set(keep)))
        if not chosen or not set(chosen) <= set(self.keep):
            raise DiffusionError(f"row-gather: expected some of {self.keep} to keep, found {keep}")
        if chosen != self.keep:
            self.keep = chosen
            self._layouts.clear()
            for denoiser in self._denoisers:
                reset_step_caches(denoiser)

    def _patch_denoiser(self, denoiser: nn.Module, undo: ExitStack) -> None:
        compiled = denoiser.__dict__.get("_compiled_call_impl")
        if compiled is not None:
            # `module.compile()`: hooks would be traced into the graph, so go around it.
            def call(*args: Any, **kwargs: Any) -> Any:
                args, kwargs = self._before(denoiser, args, kwargs) or (args, kwargs)
                output = compiled(*args, **kwargs)
                changed = self._after(denoiser, args, kwargs, output)
                return output if changed is None else changed

            _replace(denoiser, "_compiled_call_impl", call, undo)
            return
        before = denoiser.register_forward_pre_hook(self._before, with_kwargs=True)
        undo.callback(before.remove)
        after = denoiser.register_forward_hook(self._after, with_kwargs=True, prepend=True)
        undo.callback(after.remove)

    def _before(
        self, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        latents = _latents(args, kwargs)
        num_rows = len(latents)
        self.rows_full += num_rows
        self._running.pop(id(denoiser), None)
        if len(self.keep) == self.num_candidates:
            self.rows_run += num_rows
            return None
        layout = self._layout(latents)
        self.rows_run += len(layout.rows)
        self._running[id(denoiser)] = layout
        return (
            tuple(layout.select(value) for value in args),
            {name: layout.select(value, name) for name, value in kwargs.items()},
        )

    def _after(
        self, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        layout = self._running.pop(id(denoiser), None)
        return None if layout is None else layout.restore(output)

    def _layout(self, latents: Any) -> _Layout:
        key = (len(latents), isinstance(latents, Tensor))
        if key not in self._layouts:  # once a drop: it may wait for the device
            self._layouts[key] = _Layout(latents, self.num_candidates, self.keep)
        return self._layouts[key]

    def _gathered_decode(self, decode: Any) -> Any:
        def gathered(z: Any, *args: Any, **kwargs: Any) -> Any:
            is_whole = isinstance(z, Tensor) and len(z) == self.num_candidates
            if is_whole and len(self.keep) < self.num_candidates:
                layout = self._layout(z)
                z = layout.select(z)
                kwargs = {name: layout.select(value, name) for name, value in kwargs.items()}
            self.decodes += len(z) if isinstance(z, Tensor) else 1
            return decode(z, *args, **kwargs)

        return gathered


class _Layout:
    """Rows of a call: which run, and from which of them each row of the output is filled."""

    def __init__(self, latents: Any, num_candidates: int, keep: tuple[int, ...]) -> None:
        self.num_rows = len(latents)
        self.is_list = not isinstance(latents, Tensor)
        num_groups, rest = divmod(self.num_rows, num_candidates)
        if rest or not num_groups:
            raise DiffusionError(
                f"row-gather: expected the denoiser to get a multiple of {num_candidates} rows, "
                f"one a candidate, found {self.num_rows}; prune with batch_size=1"
            )
        if num_groups > 1 and _is_in_turns(latents, num_candidates):
            raise DiffusionError(
                "row-gather: expected guidance rows after one another (all without the prompt, "
                "then all with it), found them in turns; prune with batch_size=1"
            )
        place = {candidate: i for i, candidate in enumerate(keep)}
        starts = range(num_groups)
        self.rows = [group * num_candidates + candidate for group in starts for candidate in keep]
        self.fill = [
            group * len(keep) + place.get(candidate, 0)
            for group in starts
            for candidate in range(num_candidates)
        ]
        self._indices: dict[tuple[str, torch.device], Tensor] = {}

    def select(self, value: Any, name: str = "", *, is_inside: bool = False) -> Any:
        """The kept rows of an argument: tensors, lists and dicts that have one entry a row."""
        if name in _SHARED:
            return value
        if isinstance(value, Tensor):
            is_batch = value.ndim > 0 and len(value) == self.num_rows
            return value.index_select(0, self._index("rows", value)) if is_batch else value
        if isinstance(value, Mapping):
            items = {k: self.select(v, str(k), is_inside=True) for k, v in value.items()}
            return items if type(value) is dict else type(value)(items)
        if isinstance(value, (list, tuple)):
            return self._select_list(value, name, is_inside)
        return value

    def _select_list(self, value: Any, name: str, is_inside: bool) -> Any:
        """A list has one entry a row, or holds tensors (residuals, adapters) that have rows.

        Where both could be, a list of whole batches is one of the second kind, unless the latents
        are a list themselves: then a row's own first dimension may be as long as the batch.
        """
        holds_batches = len(value) > 0 and all(
            isinstance(item, Tensor) and item.ndim > 1 and len(item) == self.num_rows
            for item in value
        )
        is_per_row = len(value) == self.num_rows and _is_row_like(value, name)
        if is_per_row and not (holds_batches and (is_inside or not self.is_list)):
            return type(value)(value[row] for row in self.rows)
        if any(isinstance(item, (Tensor, Mapping, list, tuple)) for item in value):
            return type(value)(self.select(item, name, is_inside=True) for item in value)
        return value

    def restore(self, output: Any) -> Any:
        """The output with all rows again, dropped ones filled with copies of a kept row.

        Raises:
            DiffusionError: nothing in the output has one row for each row that was run.
        """
        restored, is_found = self._restored(output)
        if not is_found:
            raise DiffusionError(
                f"row-gather: expected an output with {len(self.rows)} rows, found "
                f"{type(output).__name__}; prune with batch_size=1"
            )
        return restored

    def _restored(self, value: Any) -> tuple[Any, bool]:
        if isinstance(value, Tensor):
            if value.ndim == 0 or len(value) != len(self.rows):
                return value, False
            return value.index_select(0, self._index("fill", value)), True
        if isinstance(value, list) and len(value) == len(self.rows):
            return [value[row] for row in self.fill], True
        if isinstance(value, Mapping):  # ModelOutput is one too
            found = {name: self._restored(item) for name, item in value.items()}
            items = {name: item for name, (item, _) in found.items()}
            return type(value)(**items), any(is_row for _, is_row in found.values())
        if type(value) in (list, tuple):
            parts = [self._restored(item) for item in value]
            return type(value)(item for item, _ in parts), any(is_row for _, is_row in parts)
        return value, False

    def _index(self, which: str, value: Tensor) -> Tensor:
        key = (which, value.device)
        if key not in self._indices:
            rows = self.rows if which == "rows" else self.fill
            self._indices[key] = torch.tensor(rows, device=value.device)
        return self._indices[key]


def reset_step_caches(denoiser: nn.Module) -> None:
    """Empty what a step cache (FirstBlockCache and the like) keeps between steps."""
    reset = getattr(denoiser, "_reset_stateful_cache", None)
    if reset is not None and getattr(denoiser, "is_cache_enabled", True):
        reset()


def _latents(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The argument with one entry a row: the first, or the one with the usual name."""
    candidates = [*args[:1], *(kwargs[name] for name in _INPUT_NAMES if name in kwargs)]
    for value in candidates:
        if (isinstance(value, Tensor) and value.ndim > 1) or isinstance(value, (list, tuple)):
            return value
    raise DiffusionError(
        f"row-gather: expected latents as the first argument of the denoiser or named one of "
        f"{_INPUT_NAMES}, found {sorted(kwargs)}; prune with batch_size=1"
    )


def _is_in_turns(latents: Any, num_candidates: int) -> bool:
    """Whether row 1 is candidate 0 again, with the prompt, instead of candidate 1."""
    return torch.equal(latents[0], latents[1]) and not torch.equal(
        latents[0], latents[num_candidates]
    )


def _is_row_like(value: Sequence[Any], name: str) -> bool:
    """Numbers in a list are settings (layers to skip), save for lengths of rows."""
    is_numbers = any(isinstance(item, (bool, int, float, str)) for item in value)
    return not is_numbers or "len" in name


def _replace(owner: Any, name: str, value: Any, undo: ExitStack) -> None:
    """Set an attribute of the instance; `undo` puts back what the instance itself had."""
    had = name in owner.__dict__
    old = owner.__dict__.get(name)

    def restore() -> None:
        if had:
            setattr(owner, name, old)
        else:
            delattr(owner, name)

    setattr(owner, name, value)
    undo.callback(restore)
