"""What made the scores of a run: kept in ``run.json``, so that two critics are never mixed.

The number of pixels in a batch is part of it: batches change the last bits of a score, and
with it a run that was interrupted gives, to the last bit, what an unbroken one gives.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import BulkError
from .atomic import create_file_atomically

if TYPE_CHECKING:
    from ..ip_iqa import IPIQA
    from ..scorer import Scorer
    from .config import RunConfig

__all__ = ["RUN_NAME", "RunFingerprint", "check_fields", "check_fingerprint", "known_fields"]

RUN_NAME = "run.json"
_FORMAT = {"format": "eliq-run", "version": 1}
_NAMING = ("model_id", "revision")  # where a critic was found, not what it is
_WRITING_S = 0.5
_QUICK_BYTES = 1 << 30


@dataclass(frozen=True)
class RunFingerprint:
    """Everything that decides a score, apart from the image and the prompt.

    Attributes:
        model_id: "embedded", or the directory or hub id.
        revision: commit of a checkpoint from the hub.
        head_sha256: of the head's weights; None without one.
        dtype: of the backbone.
        min_pixels, max_pixels: bounds of an image's area after resizing.
        batch_px: pixels of a batch.
        template_sha256: of the questions that are asked.
        checkpoint_sha256: of all that the checkpoint holds. Of a bare model in a directory, or of a
            critic in memory, of its weights as they are loaded, its tokenizer and calibration.
        lib_version: of eliq.
    """

    model_id: str
    revision: str | None
    head_sha256: str | None
    dtype: str
    min_pixels: int | None
    max_pixels: int | None
    batch_px: int
    template_sha256: str
    checkpoint_sha256: str | None
    lib_version: str = __version__

    @classmethod
    def of(cls, scorer: Scorer | IPIQA) -> RunFingerprint:
        """That of a loaded scorer, of either system."""
        facts = scorer.info()
        patches = facts.get("patches") or {}
        asked = ("instructions", "max_prompt_tokens", "patches", "model", "scale")
        template = json.dumps({name: facts.get(name) for name in asked}, sort_keys=True)
        directory = scorer.directory
        is_snapshot = directory is not None and directory.parent.name == "snapshots"
        return cls(
            model_id=str(facts["source"] or "in memory"),
            revision=directory.name if is_snapshot else None,
            head_sha256=_head_sha256(scorer),
            dtype=facts["dtype"],
            min_pixels=patches.get("min_pixels"),
            max_pixels=patches.get("max_pixels"),
            batch_px=scorer.max_batch_px,
            template_sha256=hashlib.sha256(template.encode()).hexdigest(),
            checkpoint_sha256=(
                scorer.fingerprint if _is_named_exactly(scorer) else _loaded_sha256(scorer, facts)
            ),
        )


def check_fingerprint(folder: Path, fingerprint: RunFingerprint) -> None:
    """Keep the fingerprint of a new run; refuse one that differs from that of the run here.

    Of several processes that begin a run together one writes its own, and all compare theirs.

    Raises:
        BulkError: all fields that differ are named, with both values.
    """
    path = folder / RUN_NAME
    found = asdict(fingerprint)
    if not path.exists():
        # Paths of rows are relative to where the run began: the report and `eliq keep` come later.
        facts = {**_FORMAT, "cwd": os.getcwd(), "fingerprint": found}
        content = json.dumps(facts, indent=1) + "\n"
        if create_file_atomically(path, content.encode()):
            return
    check_fields(folder, found)


def check_fields(folder: Path, found: dict[str, Any]) -> None:
    """Refuse what differs from the run in ``folder``, if there is one; of some fields or all.

    Raises:
        BulkError: as `check_fingerprint`.
    """
    path = folder / RUN_NAME
    expected = _fields_there(path)
    if expected is None:
        return
    names = [name for name, value in found.items() if expected.get(name) != value]
    if expected.get("checkpoint_sha256") == found.get("checkpoint_sha256") is not None:
        # The same critic by another name: another spelling of its directory, or a copy of it.
        names = [name for name in names if name not in _NAMING]
    if names:
        made = ", ".join(f"{name} {_short(expected.get(name))}" for name in names)
        asked = ", ".join(f"{name} {_short(found[name])}" for name in names)
        raise BulkError(
            f"{folder} was made with {made}; you asked for {asked}; scores of both do not mix: "
            "choose another --out, or --overwrite"
        )


def known_fields(config: RunConfig) -> dict[str, Any]:
    """What `RunFingerprint.of` will say of the critic that a run names, as far as it is known
    before that is loaded: of weights that take long to read, nothing.

    Raises:
        EliqError: the checkpoint is refused.
    """
    fields: dict[str, Any] = {"lib_version": __version__}
    if config.dtype is not None:
        fields["dtype"] = config.dtype.removeprefix("torch.")
    if config.batch_px is not None:
        fields["batch_px"] = config.batch_px
    if config.zero_shot is None:
        digest = _sha256_of_files(config.checkpoint)
        if digest is not None:
            fields["checkpoint_sha256"] = digest
    return fields


def _sha256_of_files(checkpoint: str | None) -> str | None:
    """As `Scorer.fingerprint`, of a checkpoint on the disk that is read in a few seconds."""
    from ..checkpoint import embedded_checkpoint_dir, fingerprint
    from ..ip_iqa import checkpoint as ip_iqa
    from ..loading import system_of

    directory = (
        embedded_checkpoint_dir() if checkpoint is None else Path(checkpoint).expanduser().resolve()
    )
    if not directory.is_dir():
        return None
    if sum(path.stat().st_size for path in directory.iterdir() if path.is_file()) > _QUICK_BYTES:
        return None
    return (ip_iqa.fingerprint if system_of(directory) == "ip-iqa" else fingerprint)(directory)


def _fields_there(path: Path) -> dict[str, Any] | None:
    """The fingerprint that is kept; None where there is no file."""
    deadline_s = time.monotonic() + _WRITING_S
    while True:
        try:
            fields = json.loads(path.read_bytes())["fingerprint"]
            return fields if isinstance(fields, dict) else {}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Without links in the file system another process may be writing it this moment.
            if isinstance(error, ValueError) and time.monotonic() < deadline_s:
                time.sleep(0.05)
                continue
            raise BulkError(
                f"{path}: expected the fingerprint of a run, found {type(error).__name__}; choose "
                "another --out, or --overwrite"
            ) from error


def _is_named_exactly(scorer: Scorer | IPIQA) -> bool:
    """Whether `Scorer.fingerprint` is of what is in the files: it is of the name alone where a
    bare model was loaded, which a commit of the hub makes exact and a directory does not."""
    is_commit = re.search(r"@[0-9a-f]{40}$", scorer.source or "") is not None
    return scorer.directory is not None or is_commit


def _head_sha256(scorer: Scorer | IPIQA) -> str | None:
    head = getattr(scorer, "head", None)
    return None if head is None else _weights_digest(head).hexdigest()


def _loaded_sha256(scorer: Scorer | IPIQA, facts: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(facts.get("calibration"), sort_keys=True).encode())
    for name in ("backbone", "head", "model"):
        module = getattr(scorer, name, None)
        if module is not None:
            digest.update(_weights_digest(module).digest())
    tokenizer = getattr(getattr(scorer, "backbone", None), "tokenizer", None)
    if tokenizer is not None:
        digest.update(tokenizer.to_str().encode())
    return digest.hexdigest()


def _weights_digest(module: Any) -> Any:
    """sha256 over names, types and bytes, a tensor at a time."""
    import torch  # a plan needs none of it

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        # As bytes, because numpy has no bfloat16.
        data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(data.numpy())
    return digest


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 and os.sep not in text else text
