"""IP-IQA on AGIQA-1K: one output, the opinion in which quality and alignment are mixed.

    python -m training.ip_iqa.table_agiqa_1k --set agiqa_1k=DIR \\
        --clip timm/resnet50_clip.openai --image2prompt runs/image2prompt --out runs/agiqa_1k
    python -m training.ip_iqa.table_agiqa_1k --smoke                                   # seconds

The published schedule: 100 epochs of batches of 32 at 1e-5 (head 1e-4), ten prompt-grouped repeats.
Published, SRCC / PLCC: .8401 / .8922;
they stand in table.md as reference rows.
Hardware and time: a GPU of 24 GB [computed by memory.py, not run]; ours has not been run: the set
and CLIP's weights are not in the repository.
"""

from __future__ import annotations

from .train import main

if __name__ == "__main__":
    raise SystemExit(main(outputs=("overall",)))
