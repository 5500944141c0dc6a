"""What the embedded critic costs: time an image on one core, memory, batches against singles.

    python benchmarks/embedded.py

Hardware and time: two CPU cores, about two minutes.
Expect: <= 150 ms for a 512 x 512 image on one core, all aspects and both scores; on two cores a
batch of 32 at 1.5 times the rate of single images; <= 600 MB of memory for all of it.

An image is a tensor with a prompt, scored with `Scorer.score`: preprocessing, one packed pass,
head, calibration. Those of the batch are Pillow images, as files are decoded. Wall time is what a
user waits. CPU time is what the work takes of one core, whoever else uses the machine; with one
thread the two agree where nobody does. The figure to expect is CPU time. Memory is the peak of the
whole process, the interpreter and torch included.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import (
    add_common_options,
    environment,
    interleaved_seconds,
    load_photographs,
    load_scorer,
    markdown_table,
    median,
    number,
    peak_memory_mib,
    run,
    to_tensor,
    write_json,
)

PROMPT = "a red fox to the left of two blue mugs on a wooden table, soft morning light"
GATE_MS, GATE_PX = 150.0, 512
GATE_BATCH, BATCH_THREADS = 1.5, 2
GATE_MEMORY_MIB = 600e6 / (1 << 20)


def main(argv: list[str] | None = None, *, scorer=None) -> dict:
    """Runs the benchmark and returns what `--json` writes. ``scorer`` replaces the loaded one."""
    arguments = _parser().parse_args(argv)
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = measure(arguments, scorer)
    finally:
        torch.set_num_threads(num_threads)
    report(result)
    write_json(arguments.json, result)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_common_options(parser)
    parser.add_argument("--sizes", nargs="+", type=int, metavar="PX", help="256 512 1024")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32, help="images of the batch comparison")
    return parser


def measure(arguments: argparse.Namespace, scorer=None) -> dict:
    import torch
    from PIL import Image

    machine = environment()  # of the single images: the batch has threads of its own
    memory = {"python and torch": peak_memory_mib()}
    start = time.perf_counter()
    scorer = scorer or load_scorer(arguments.checkpoint)
    load_s = time.perf_counter() - start
    memory["critic loaded"] = peak_memory_mib()
    sizes = arguments.sizes or ([64] if arguments.smoke else [256, 512, 1024])
    repeats = 2 if arguments.smoke else arguments.repeats
    batch = 2 if arguments.smoke else arguments.batch
    photograph = to_tensor(load_photographs(1)["astronaut"])
    rows = []
    for size_px in sorted(sizes):
        image = resized(photograph, size_px)
        rows.append({"size_px": size_px, **timings(scorer, image, repeats)})
        memory[f"one image, {size_px} px"] = peak_memory_mib()
    batch_px = 64 if arguments.smoke else GATE_PX
    # Pillow images, as files are decoded: as float tensors the 32 alone would be 96 MiB.
    whole = (resized(photograph, batch_px) * 255).round().to(torch.uint8).permute(1, 2, 0)
    images = [Image.fromarray(whole.roll(shift, 1).numpy()) for shift in range(batch)]
    torch.set_num_threads(BATCH_THREADS)
    batches = batch_timings(scorer, images, 1 if arguments.smoke else 3)
    memory[f"a batch of {batch}, {batch_px} px"] = peak_memory_mib()
    return {
        "benchmark": "embedded",
        "environment": machine,
        "checkpoint": arguments.checkpoint or "embedded",
        "load_s": load_s,
        "sizes": rows,
        "batch": {
            "num_images": batch,
            "size_px": batch_px,
            "threads": BATCH_THREADS,
            **batches,
        },
        "peak_memory_mib": memory,
    }


def resized(image, size_px: int):
    """[3,H,W] -> [3,size_px,size_px]."""
    import torch

    shape = (size_px, size_px)
    out = torch.nn.functional.interpolate(image[None], shape, mode="bilinear", antialias=True)
    return out[0].clamp(0, 1)


def timings(scorer, image, repeats: int) -> dict:
    scorer.score([image], [PROMPT])  # the first call allocates
    wall, cpu = [], []
    for _ in range(repeats):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        scorer.score([image], [PROMPT])
        wall.append((time.perf_counter() - wall_start) * 1e3)
        cpu.append((time.process_time() - cpu_start) * 1e3)
    return {"wall_ms": wall, "cpu_ms": cpu}


def batch_timings(scorer, images: list, repeats: int) -> dict:
    """The same images in one call and in a call each, in turns."""
    together = scorer.score(images, [PROMPT] * len(images)).raw["visual_quality"]
    alone = [float(scorer.score([image], [PROMPT]).raw["visual_quality"][0]) for image in images]
    seconds = interleaved_seconds(
        {
            "one_call": lambda: scorer.score(images, [PROMPT] * len(images)),
            "a_call_each": lambda: [scorer.score([image], [PROMPT]) for image in images],
        },
        repeats,
    )
    return {
        "seconds": seconds,
        "images_per_s": {name: len(images) / median(times) for name, times in seconds.items()},
        "max_raw_difference": max(abs(float(a) - b) for a, b in zip(together, alone, strict=True)),
    }


def report(result: dict) -> None:
    print(f"checkpoint: {result['checkpoint']}, loaded in {result['load_s']:.2f} s; one thread\n")
    rows = []
    for row in result["sizes"]:
        wall, cpu = row["wall_ms"], row["cpu_ms"]
        rows.append([row["size_px"], number(median(wall), 0), number(min(wall), 0),
                     number(max(wall), 0), number(median(cpu), 0)])  # fmt: skip
    print(markdown_table(["px", "ms an image", "fastest", "slowest", "CPU ms"], rows), end="\n\n")
    batch = result["batch"]
    rates = batch["images_per_s"]
    ratio = rates["one_call"] / rates["a_call_each"]
    print(
        f"{batch['num_images']} images of {batch['size_px']} px, {BATCH_THREADS} threads: "
        f"{rates['one_call']:.1f} images/s in one call, "
        f"{rates['a_call_each']:.1f} in a call each, {ratio:.2f}x "
        f"(gate {GATE_BATCH}x: {_met(ratio >= GATE_BATCH)}); "
        f"largest difference of a raw score {batch['max_raw_difference']:.1e}\n"
    )
    memory = result["peak_memory_mib"]
    rows = [[k, number(v, 0)] for k, v in memory.items()]
    print(markdown_table(["peak memory after", "MiB"], rows))
    peak = max(memory.values())
    print(f"\npeak: {peak:.0f} MiB (gate 600 MB: {_met(peak <= GATE_MEMORY_MIB)})")
    for row in result["sizes"]:
        if row["size_px"] == GATE_PX:
            found, wall = median(row["cpu_ms"]), median(row["wall_ms"])
            print(
                f"\n{GATE_PX} px: {found:.0f} ms of one core "
                f"(gate {GATE_MS:.0f}: {_met(found <= GATE_MS)}), {wall:.0f} ms on the wall"
            )


def _met(good: bool) -> str:
    return "met" if good else "not met"


if __name__ == "__main__":
    run(main)
