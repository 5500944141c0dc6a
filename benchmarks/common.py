"""What the benchmarks share: photographs, scorers, timing, tables, files."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

# Colour photographs inside the wheels of scikit-image and scikit-learn: no download, and nothing
# of ELIQ was ever trained or selected on them. They have 8 such photographs and no more, apart
# from a microscope slide, a retina and the other eye of motorcycle_left.
PHOTOGRAPHS = {
    "astronaut": "skimage/data/astronaut.png",
    "chelsea": "skimage/data/chelsea.png",
    "china": "sklearn/datasets/images/china.jpg",
    "coffee": "skimage/data/coffee.png",
    "flower": "sklearn/datasets/images/flower.jpg",
    "hubble": "skimage/data/hubble_deep_field.jpg",
    "motorcycle": "skimage/data/motorcycle_left.png",
    "rocket": "skimage/data/rocket.jpg",
}


def load_photographs(max_photos: int | None = None, *, side_px: int = 512) -> dict[str, np.ndarray]:
    """Name -> uint8 [H,W,3], the central ``side_px`` square or what there is of it.

    Cropped, not resized: resampling would change the very defects that are measured.
    """
    from PIL import Image

    photographs = {}
    for name, inner in list(PHOTOGRAPHS.items())[:max_photos]:
        package, _, path = inner.partition("/")
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            sys.exit(
                f"{package} is not installed; pip install 'eliq[bench]' brings the photographs"
            )
        file = Path(spec.submodule_search_locations[0]) / path
        with Image.open(file) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        top = max(0, (pixels.shape[0] - side_px) // 2)
        left = max(0, (pixels.shape[1] - side_px) // 2)
        photographs[name] = np.ascontiguousarray(pixels[top : top + side_px, left : left + side_px])
    return photographs


def to_tensor(pixels: np.ndarray):
    """uint8 [H,W,3] -> float32 [3,H,W] in 0..1."""
    import torch

    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255.0


def add_common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", help="directory or hub id; without it the embedded critic")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number there")
    parser.add_argument("--smoke", action="store_true", help="smallest run, for the tests")


def run(main: Callable[[], Any]) -> None:
    """Run a benchmark from a shell: an error of ELIQ's own is one line, not a traceback."""
    from eliq.errors import EliqError

    try:
        main()
    except EliqError as error:
        sys.exit(f"error: {error}")


def load_scorer(checkpoint: str | None, *, device: str = "cpu"):
    """The scorer to measure."""
    from eliq import Scorer

    if checkpoint is None:
        return Scorer.from_pretrained(device=device)
    return Scorer.from_pretrained(checkpoint, device=device)


def small_tokenizer(*more_texts: str):
    """A byte-level BPE with Qwen's control tokens, learnt from the questions in milliseconds.

    For benchmarks of speed on random weights, where only the number of tokens matters: about one
    a word in the questions and in ``more_texts``, as in Qwen's own vocabulary.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    from eliq.instructions import Instructions

    texts = [*Instructions().to_json().values(), *more_texts, "user assistant low high"] * 50
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    names = ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
    tokenizer.add_special_tokens(
        [AddedToken(f"<|{name}|>", normalized=False, special=True) for name in names]
    )
    return tokenizer


def qwen3_vl_config(
    tokenizer,
    *,
    text: Sequence[int],
    vision: Sequence[int],
) -> dict[str, Any]:
    """A transformers Qwen3-VL config with untied sizes.

    Args:
        tokenizer: gives the ids of the control tokens and the vocabulary.
        text: hidden size, ffn, layers, heads, key-value heads.
        vision: hidden size, ffn, layers, heads.
    """
    hidden, ffn, layers, heads, kv_heads = text
    v_hidden, v_ffn, v_layers, v_heads = vision
    head_dim = hidden // heads
    # Qwen3-VL's shares of the rotary pairs for time, height and width: 24, 20, 20 of 64.
    side = head_dim // 2 * 5 // 16
    return {
        "model_type": "qwen3_vl",
        "image_token_id": tokenizer.token_to_id("<|image_pad|>"),
        "video_token_id": tokenizer.token_to_id("<|video_pad|>"),
        "vision_start_token_id": tokenizer.token_to_id("<|vision_start|>"),
        "vision_end_token_id": tokenizer.token_to_id("<|vision_end|>"),
        "tie_word_embeddings": True,
        "text_config": {
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": hidden,
            "intermediate_size": ffn,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": head_dim,
            "max_position_embeddings": 32768,
            "tie_word_embeddings": True,
            "rope_scaling": {
                "rope_type": "default",
                "mrope_interleaved": True,
                "mrope_section": [head_dim // 2 - 2 * side, side, side],
            },
        },
        "vision_config": {
            "hidden_size": v_hidden,
            "intermediate_size": v_ffn,
            "depth": v_layers,
            "num_heads": v_heads,
            "out_hidden_size": hidden,
            "deepstack_visual_indexes": [v_layers // 2],
            "num_position_embeddings": 48 * 48,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    }


def random_backbone(text: Sequence[int], vision: Sequence[int], *more_texts: str):
    """A Qwen3-VL backbone with random weights, float32, on the CPU."""
    from eliq.backbone import Backbone

    tokenizer = small_tokenizer(*more_texts)
    return Backbone.from_config(qwen3_vl_config(tokenizer, text=text, vision=vision), tokenizer)


def interleaved_seconds(
    functions: dict[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
    """Wall seconds of each function, in turns; the caller has run each once to warm it up.

    In turns, so that a machine that slows down half-way slows all of them.
    """
    import torch

    def finished() -> float:
        # A GPU is only told what to do when a call returns.
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = finished()
            function()
            seconds[name].append(finished() - start)
    return seconds


def peak_memory_mib() -> float:
    """Most memory that this process has held so far; NaN where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def finite(value: Any) -> Any:
    """A copy of plain data in which NaN and infinity are None, as JSON wants it."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table, padded so that it also reads in a terminal; first column left."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [("-" * width) if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])])


def number(value: float | None, digits: int = 2) -> str:
    """A fixed number of digits; a dash where nothing was measured."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def environment() -> dict[str, Any]:
    """What a number depends on besides the code."""
    import torch
    import transformers

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    """Write through a temporary file: a run that is stopped leaves the previous file whole."""
    if path is None:
        return
    temporary = path.with_name(path.name + ".incomplete")
    temporary.write_text(json.dumps(finite(result), indent=1, allow_nan=False) + "\n")
    temporary.replace(path)
    print(f"wrote {path}", file=sys.stderr)
