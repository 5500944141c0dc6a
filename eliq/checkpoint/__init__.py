"""A critic in a directory: everything that makes a score, strictly loaded, atomically saved.

    config.json  model.safetensors (or shards)  tokenizer.json  README.md (the card)

A checkpoint may come from anybody. Loading runs no code of it, opens no pickle, follows no path
out of it, and compares names, shapes and dtypes with a closed table before a tensor is allocated.
"""

from .config import CheckpointConfig, read_config
from .critic import Checkpoint, HubWeights
from .load import embedded_checkpoint_dir, fingerprint, load_checkpoint, locate_checkpoint
from .save import save_checkpoint
from .tensors import Adapter

__all__ = [
    "Adapter",
    "Checkpoint",
    "CheckpointConfig",
    "HubWeights",
    "embedded_checkpoint_dir",
    "fingerprint",
    "load_checkpoint",
    "locate_checkpoint",
    "read_config",
    "save_checkpoint",
]
