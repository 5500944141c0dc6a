"""Runs the gate over a folder of generated negatives and writes the list of those that passed.

    OUT/gate/<fingerprint>.jsonl   a verdict a negative, with what was measured
    OUT/kept.jsonl                 what `eliq.supervision.build_supervision(generated=OUT)` reads

The fingerprint is that of the gate's settings, of its scorer and of the sizes of the set: verdicts
of another gate are kept beside and not mixed in.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eliq.errors import TrainingError
from eliq.supervision import GENERATED_KINDS, GeneratedNegative, SupervisionConfig
from eliq.supervision.generated import KEPT_NAME
from eliq.supervision.sources import Source

from ..journal import Journal, write_lines
from ..stop_request import StopRequest
from .config import GateConfig
from .gate import judge
from .make import made_rows
from .opinions import Opinion
from .plan import Job

__all__ = ["GateReport", "run_gate"]

# Negatives a question to the scorer; a kill loses at most so many verdicts. Always the same ones
# together: another batch rounds otherwise, and a verdict may hang on that.
_BATCH = 8
_NOT_PARAMETERS = tuple(GeneratedNegative.__dataclass_fields__)


@dataclass
class GateReport:
    """What passed, by kind.

    Attributes:
        kinds: kind -> {"judged", "kept", "dropped": {reason: number}}.
        scorer: whose opinion was asked.
        stopped: a signal came first; the same call goes on.
    """

    scorer: str
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)
    stopped: bool = False

    @property
    def num_kept(self) -> int:
        return sum(kind["kept"] for kind in self.kinds.values())

    def to_json(self) -> dict[str, Any]:
        return {"scorer": self.scorer, "num_kept": self.num_kept, "kinds": self.kinds}

    def lines(self) -> list[str]:
        """In words, one line a kind."""
        said = []
        for name, kind in self.kinds.items():
            why = ", ".join(f"{number} {reason}" for reason, number in kind["dropped"].items())
            said.append(
                f"{name}: {kind['kept']} of {kind['judged']} kept"
                + (f", dropped {why}" * bool(why))
            )
        return said


def run_gate(
    jobs: Sequence[Job],
    out: str | os.PathLike[str],
    gate: GateConfig,
    supervision: SupervisionConfig,
    opinion: Opinion | None,
    *,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> GateReport:
    """Judges every image of the plan that was made, and writes `kept.jsonl`.

    Args:
        jobs: the whole plan.
        opinion: by `load_opinion(gate.scorer)`.
        stop: asked after every batch.

    Raises:
        TrainingError: an image of the plan is missing: generate it first.
        OSError: the disk refuses; verdicts that were written stay.
    """
    out = Path(out)
    rows = made_rows(out)
    missing = [job.negative_id for job in jobs if job.negative_id not in rows]
    if missing:
        raise TrainingError(
            f"{out}: {len(missing)} of {len(jobs)} planned negatives are not there yet "
            f"({missing[0]}, ...): generate them first"
        )
    made = [job for job in jobs if "left_out" not in rows[job.negative_id]]
    report = GateReport(gate.scorer)
    path = out / "gate" / f"{_fingerprint(gate, supervision, opinion)}.jsonl"
    with Journal(path) as journal:
        known = {row["negative_id"] for row in journal.rows}
        parts = [made[start : start + _BATCH] for start in range(0, len(made), _BATCH)]
        for part in tqdm(parts, desc="gate", disable=None if progress else True):
            if known.issuperset(job.negative_id for job in part):
                continue
            if stop is not None and stop.requested:
                report.stopped = True
                return report
            pairs = [(_negative(job, rows[job.negative_id], out), _source(job)) for job in part]
            for verdict in judge(pairs, gate, supervision, opinion):
                if verdict.negative_id not in known:
                    journal.append(verdict.to_json())
        verdicts = {row["negative_id"]: row["reason"] for row in journal.rows}
    kept = []
    for kind in GENERATED_KINDS:
        reasons = Counter(verdicts[job.negative_id] for job in made if job.kind == kind)
        if reasons:
            dropped = {str(why): reasons[why] for why in sorted(reasons.keys() - {None})}
            report.kinds[kind] = {
                "judged": sum(reasons.values()), "kept": reasons[None], "dropped": dropped
            }  # fmt: skip
    for job in sorted(made, key=lambda job: (job.kind, job.negative_id)):
        if verdicts[job.negative_id] is None:
            kept.append(_negative(job, rows[job.negative_id], Path()).to_json())
    write_lines(out / KEPT_NAME, kept)
    return report


def _negative(job: Job, row: dict[str, Any], folder: Path) -> GeneratedNegative:
    parameters = {key: value for key, value in row.items() if key not in _NOT_PARAMETERS}
    return GeneratedNegative(
        negative_id=job.negative_id,
        kind=job.kind,
        source=job.positive.name,
        prompt=job.positive.prompt,
        path=(folder / job.path).as_posix(),
        generation_prompt=job.generation_prompt,
        severity=job.severity,
        parameters=parameters,
    )


def _source(job: Job) -> Source:
    return Source(job.positive.name, job.positive.path, job.positive.prompt)


def _fingerprint(gate: GateConfig, supervision: SupervisionConfig, opinion: Opinion | None) -> str:
    facts = {
        **gate.to_json(),
        "opinion": None if opinion is None else opinion.fingerprint,
        "max_side_px": supervision.max_side_px,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
