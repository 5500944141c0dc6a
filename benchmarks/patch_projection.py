"""The patch embedding of the vision tower: a matrix product against the convolution it is kept as.

    python benchmarks/patch_projection.py
    python benchmarks/patch_projection.py --device cuda --dtype bfloat16 --width 1152

Hardware and time: one CPU core, seconds. Expect: a ratio above 1; nothing is fixed for a GPU,
where it was never run here.

Both take the same patches, as the tower does, of one image and of a batch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import (
    environment,
    interleaved_seconds,
    markdown_table,
    median,
    number,
    run,
    write_json,
)


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what `--json` writes."""
    arguments = _parser().parse_args(argv)
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [measure(count, arguments) for count in arguments.patches]
        machine = environment()
    finally:
        torch.set_num_threads(num_threads)
    table = [
        [row["patches"], number(row["conv3d_ms"]), number(row["product_ms"]),
         f"{row['conv3d_ms'] / row['product_ms']:.2f}x", f"{row['max_difference']:.1e}"]
        for row in rows
    ]  # fmt: skip
    header = ("patches", "Conv3d, ms", "product, ms", "ratio", "largest difference")
    print(markdown_table(header, table))
    result = {"benchmark": "patch_projection", "environment": machine, "rows": rows}
    write_json(arguments.json, result)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--patches", type=int, nargs="+", default=[784, 6272], metavar="N")
    parser.add_argument("--width", type=int, default=160, help="of an embedding (%(default)s)")
    parser.add_argument("--patch", type=int, default=16, metavar="PX")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--smoke", action="store_true", help="few patches, to see that it runs")
    return parser


def measure(count: int, arguments: argparse.Namespace) -> dict:
    """Milliseconds of both ways on `count` patches, and how far their results are apart."""
    import torch

    from eliq.patch_projection import PatchProjection

    count = 4 if arguments.smoke else count
    kernel = (2, arguments.patch, arguments.patch)
    place = {"device": arguments.device, "dtype": getattr(torch, arguments.dtype)}
    torch.manual_seed(0)
    convolution = torch.nn.Conv3d(3, arguments.width, kernel, stride=kernel).to(**place)
    product = PatchProjection(3, arguments.width, kernel, stride=kernel).to(**place)
    product.load_state_dict(convolution.state_dict())
    patches = torch.rand(count, 3, *kernel, **place)

    def timed(module):
        def call() -> None:
            module(patches)
            if patches.is_cuda:
                torch.cuda.synchronize()

        return call

    with torch.inference_mode():
        difference = float((convolution(patches) - product(patches)).abs().max())
        seconds = interleaved_seconds(
            {"conv3d": timed(convolution), "product": timed(product)}, arguments.repeats
        )
    times = {f"{name}_ms": 1e3 * median(values) for name, values in seconds.items()}
    return {"patches": count, **times, "max_difference": difference}


if __name__ == "__main__":
    run(main)
