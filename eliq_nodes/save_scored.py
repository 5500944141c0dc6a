"""ELIQ Save Scored Image: PNG files that carry their scores, and a JSONL record beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
from comfy.cli_args import args
from comfy_api.latest import io

from .file_names import image_prefix, record_prefix
from .link_types import SCORES
from .scored_files import append_line, png_text, to_pil

__all__ = ["SaveScoredNode"]

_FORMAT = "eliq.comfyui/1"  # tells the record from the one that eliq.diffusion writes
_COMPRESS_LEVEL = 4  # as ComfyUI's own Save Image


class SaveScoredNode(io.ComfyNode):
    """IMAGE [B,H,W,C] and its scores [B] -> PNG files below ComfyUI's output folder.

    The PNG text ``eliq`` holds the row as JSON, beside ``prompt`` and ``workflow`` as ComfyUI
    writes them; with --disable-metadata a PNG holds none of them.

    Raises:
        ValueError: not B images, or a prefix that leaves the output folder.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQSaveScored",
            display_name="ELIQ Save Scored Image",
            category="ELIQ",
            description=(
                "Saves images to the output folder with their scores in the PNG text, beside the "
                "workflow, and in a JSONL file beside them. File names may carry the scores."
            ),
            search_aliases=[
                "save image",
                "save with score",
                "save scored",
                "export image",
                "scores jsonl",
            ],
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                io.Image.Input("images", tooltip="The images to save."),
                SCORES.Input(
                    "scores",
                    tooltip="Their scores: of the ELIQ Score, Gate or Pick Best that the images "
                    "come from.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="ELIQ/%vq%",
                    tooltip="Name, or folders and name, below the output folder. %vq% = visual "
                    "quality, %al% = alignment, %index% = place in the batch; ComfyUI's %width%, "
                    "%height%, %year%, %month%, %day%, %hour%, %minute% and %second% work too.",
                ),
                io.Boolean.Input(
                    "write_jsonl",
                    default=True,
                    optional=True,
                    advanced=True,
                    tooltip="Append a line for each image to <name>_scores.jsonl beside it.",
                ),
            ],
            outputs=[io.Image.Output("images", tooltip="The images as they came in.")],
        )

    @classmethod
    def execute(
        cls, images: Any, scores: Any, filename_prefix: str, write_jsonl: bool = True
    ) -> io.NodeOutput:
        if len(images) != len(scores):
            raise ValueError(
                f"images: expected {len(scores)}, as many as there are scores, found "
                f"{len(images)}: link the images and the scores of the same node"
            )
        saved = []
        for position, image in enumerate(images):
            comfy.model_management.throw_exception_if_processing_interrupted()
            saved.append(cls._save(image, scores, position, filename_prefix, write_jsonl))
        return io.NodeOutput(images, ui={"images": saved})

    @classmethod
    def _save(
        cls, image: Any, scores: Any, position: int, typed_prefix: str, write_jsonl: bool
    ) -> dict[str, str]:
        """Write one image; gives its place as ComfyUI's page wants it."""
        of_image = {
            "visual_quality": scores.visual_quality[position],
            "alignment": scores.alignment[position],
            "position": position,
        }
        # Asked for each image, not for the batch: a name with a score in it counts on its own.
        folder, name, counter, subfolder = _place(image_prefix(typed_prefix, **of_image), image)
        file_name = f"{name}_{counter:05}_.png"
        record = {"format": _FORMAT, **scores.record(position)}
        text = None if args.disable_metadata else png_text(record, cls._workflow())
        path = Path(folder, file_name)
        to_pil(image).save(path, pnginfo=text, compress_level=_COMPRESS_LEVEL)
        if write_jsonl:
            _, record_name, _, _ = _place(record_prefix(typed_prefix, **of_image), image)
            line = {"file": file_name, **record}
            append_line(path.with_name(f"{record_name}_scores.jsonl"), line)
        return {"filename": file_name, "subfolder": subfolder, "type": "output"}

    @classmethod
    def _workflow(cls) -> dict[str, Any]:
        """What ComfyUI's own Save Image writes, so that the file opens as a workflow."""
        prompt = cls.hidden.prompt
        return {**({"prompt": prompt} if prompt else {}), **(cls.hidden.extra_pnginfo or {})}


def _place(prefix: str, image: Any) -> tuple[str, str, int, str]:
    """Folder, name, next free number and folder below the output, as ComfyUI assigns them."""
    height, width = image.shape[:2]
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory(), width, height
    )
    return folder, name, counter, subfolder
