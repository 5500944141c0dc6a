"""Stage 1 on a tiny backbone in one process, in two with the whole model, in two with slices.

    python -m tests.distributed_runs OUT        # writes OUT/{one,ddp,fsdp}/..., 15 s on one core

One process accumulates two micro-batches; each of two takes one of them. The processes are forked
before torch computes anything, so that none of them inherits a broken thread pool.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from tests.free_port import free_port

FORMS = {
    "one": ({}, 1),
    "ddp": ({}, 2),
    "fsdp": ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, 2),
}
# Imported once, before the processes fork, and not by each of the five: seconds, every time.
HEAVY = (
    "accelerate",
    "peft",
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
    "transformers.models.qwen3_vl.modeling_qwen3_vl",
    "training.stage1",
)
SETTINGS = {
    "num_steps": 2,
    "tuples_per_forward": 2,
    "ladders_per_forward": 1,
    "tuning": "lora",
    "lora_rank": 4,
    "lora_dropout": 0.1,  # the masks belong to the micro-batch, whichever process takes it
    "learning_rate": 3e-3,
    "precision": "float32",
    "gradient_checkpointing": True,
    "validate_every": 2,
    "max_validation_rows": 2,
    "save_every": 1,
}


class StopAfter:
    """A stop request that comes after a number of steps, in one process only."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left <= 0 and os.environ.get("RANK", "0") == "0"


def tune(out: Path, world_size: int) -> None:
    """Stops after one step, goes on in the same processes, and saves what came of it."""
    import torch
    from safetensors.torch import save_file

    from training.dataset import read_supervision
    from training.placement import Placement
    from training.stage1 import Stage1Config, train_stage1
    from training.tiny_backbone import tiny_backbone

    torch.set_num_threads(1)
    sides = read_supervision(out.parent / "set").split(0.2)
    config = Stage1Config(**SETTINGS | {"grad_accumulation": 2 // world_size})
    placement = Placement("cpu")
    options = {"placement": placement, "progress": False}
    stopped = train_stage1(tiny_backbone(), *sides, config, out, stop=StopAfter(1), **options)
    assert stopped.stopped and stopped.steps == 1, "one process's request stops all of them"
    backbone = tiny_backbone()
    result = train_stage1(backbone, *sides, config, out, **options)
    if placement.is_main:
        weights = {name: t.clone() for name, t in backbone.state_dict().items()}
        save_file(weights, str(out / "tuned.safetensors"))
        facts = {"world_size": placement.world_size, "is_sharded": placement.is_sharded}
        facts |= {"steps": result.steps, "validation": result.validation}
        (out / "result.json").write_text(json.dumps(facts))
    if world_size > 1:
        torch.distributed.destroy_process_group()


def main(out: Path) -> int:
    """Runs every form; the exit code is not 0 where one process failed."""
    from tests.tiny_supervision import write_set

    for name in HEAVY:
        importlib.import_module(name)
    write_set(out / "set")
    for form, (environment, world_size) in FORMS.items():
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        children = []
        for rank in range(world_size):
            children.append(os.fork())
            if children[-1] == 0:
                os.environ |= environment | address
                os.environ |= {"WORLD_SIZE": str(world_size), "RANK": str(rank)}
                os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world_size)}
                code = 1
                try:
                    tune(out / form, world_size)
                    code = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stderr.flush()
                    os._exit(code)
        if any([os.waitpid(child, 0)[1] for child in children]):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
