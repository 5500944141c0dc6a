"""Fits a linear regressor on a frozen critic with a few opinions, and says what that buys.

    python -m training.weak_supervision agiqa_3k DATA --critic runs/mine/critic --out runs/weak
    python -m training.weak_supervision csv rated.csv --critic runs/mine/critic --out runs/weak
    python -m training.weak_supervision --smoke

The weak-supervised setting of section 4.1: all is frozen but one linear layer on the encoded
queries of the QQT, fitted in closed form on 20 % of the prompts (30 % of photographs), tested on
the rest, over ten draws. Reads the same benchmarks as `training.evaluate`. OUT/critic is then an
ordinary checkpoint whose raw scores predict the opinions (fitted on the first draw's labels);
`--form scale` keeps the label-free head and stores the opinion scale beside it instead
(`mos_calibration`).

Hardware: that of scoring; the fit itself takes a CPU. Time: one pass over the images, then about
ten seconds for 3,000 of them [estimated]; --smoke seconds. Killed, it goes on where it was.
Expect: a JSON object on stdout: SRCC, PLCC and KRCC without labels and with them, mean and standard
deviation over the draws. The paper reports for its 8B critic, which was never published, SRCC
0.801 without and 0.876 with labels (AGIQA-3K, quality). The numbers of --smoke mean nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from eliq import Scorer
from eliq.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from eliq.errors import ConfigError, EliqError

from .evaluation.rated import OPINIONS
from .evaluation.readers import READERS
from .evaluation.smoke_set import write_smoke_set
from .journal import write_atomically
from .stop_request import StopRequest
from .weak import DEFAULT_SHARES, WeakStudy, fold_into_head, read_features, study

log = logging.getLogger("eliq")
SMOKE_SHARE = 0.5  # of six prompts: a fit needs two
FORMS = ("regressor", "scale", "none")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input, 130/143: stopped)."""
    options = _parser().parse_args(arguments)
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    try:
        with StopRequest() as stop, tempfile.TemporaryDirectory() as temporary:
            result = _run(options, stop, Path(temporary))
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if result is None:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return stop.exit_code or 1
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _run(options: argparse.Namespace, stop: StopRequest, temporary: Path) -> dict | None:
    if options.smoke:
        rated = READERS["csv"](write_smoke_set(temporary / "set"))
        out = options.out or temporary / "weak"
    elif options.benchmark is None or options.data is None or options.out is None:
        raise ConfigError("give BENCHMARK, DATA and --out, or --smoke; see --help")
    else:
        rated, out = READERS[options.benchmark](options.data), options.out
    scorer = Scorer.from_pretrained(options.critic, device=options.device)
    features = read_features(
        scorer, rated.rows, out / "tokens", stop=stop, progress=not options.quiet
    )
    if features is None:
        return None
    default = SMOKE_SHARE if options.smoke else DEFAULT_SHARES.get(rated.name, 0.2)
    share = default if options.share is None else options.share
    studies = {
        opinion: study(
            features, rated, opinion, share=share, num_splits=options.splits, seed=options.seed
        )
        for opinion in rated.opinions()
    }
    report = {
        "benchmark": rated.name,
        "critic": scorer.fingerprint,
        "left_out": rated.counts.to_json(),
        "opinions": {name: found.to_json() for name, found in studies.items()},
    }
    write_atomically(out / "weak_supervision.json", json.dumps(report, indent=2).encode())
    path = None
    if options.form != "none":
        path = _export(options, scorer, studies, report, out / "critic")
    is_kept = path is not None and options.out is not None
    return report | {"checkpoint": str(path) if is_kept else None}


def _export(
    options: argparse.Namespace,
    scorer: Scorer,
    studies: dict[str, WeakStudy],
    report: dict[str, Any],
    directory: Path,
) -> Path:
    """The critic with what the opinions taught, as a checkpoint."""
    old = load_checkpoint(scorer.directory)
    is_scale = options.form == "scale"
    scales = {
        OPINIONS[name]: found.scale["label_free" if is_scale else "weak"]
        for name, found in studies.items()
    }
    against = sorted(name for name, scale in scales.items() if scale is None)
    if against:
        raise ConfigError(
            f"{', '.join(against)}: the raw score falls as opinions rise, so no scale that keeps "
            "the order brings them together; use --form regressor"
        )
    head, calibration = old.head, old.calibration
    if not is_scale:
        regressors = {OPINIONS[name]: found.regressor for name, found in studies.items()}
        head, calibration = fold_into_head(head, regressors), {**calibration, **scales}
    facts = {
        "form": options.form,
        "benchmark": report["benchmark"],
        "parent": report["critic"],
        "num_labelled": {name: found.num_labelled for name, found in studies.items()},
        "opinion_range": {name: found.scale["range"] for name, found in studies.items()},
    }
    critic = Checkpoint(
        old.backbone,
        head,
        calibration,
        {**old.mos_calibration, **scales},
        {**old.training, "weak_supervision": facts},
        old.hub,
    )
    return save_checkpoint(directory, critic)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.weak_supervision",
        description="Fits a linear regressor on a frozen critic with a few opinions.",
    )
    add = parser.add_argument
    add("benchmark", nargs="?", choices=sorted(READERS), metavar="BENCHMARK",
        help=", ".join(sorted(READERS)))  # fmt: skip
    add("data", nargs="?", type=Path, metavar="DATA", help="its folder; for csv the file")
    add("--critic", help="checkpoint directory or hub id (default: the embedded critic)")
    add("--out", type=Path, help="folder for the tokens, the report and the critic")
    add("--share", type=float, help="labelled share of the prompts (default 0.2; photographs 0.3)")
    add("--splits", type=int, default=10, help="draws of labelled prompts (default %(default)s)")
    add("--form", choices=FORMS, default="regressor",
        help="what OUT/critic is: the regressor as its head, the label-free head with an opinion "
        "scale beside, or nothing (default %(default)s)")  # fmt: skip
    add("--device", help="cpu, cuda, ... (default: cuda where there is one)")
    add("--seed", type=int, default=0)
    add("--quiet", action="store_true", help="no progress bar, only warnings")
    add("--smoke", action="store_true", help="a few pictures of its own, the embedded critic")
    return parser


if __name__ == "__main__":
    sys.exit(main())
