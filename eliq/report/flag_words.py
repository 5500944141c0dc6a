"""What each flag and each reason of a failure means, in a few words for the page."""

from __future__ import annotations

__all__ = ["FLAG_WORDS"]

FLAG_WORDS = {
    # flags of images
    "alpha_composited": "it had transparency and was laid on white",
    "cmyk_converted": "converted from CMYK",
    "constant_image": "every pixel is the same; scored, but hardly worth a score",
    "exif_rotated": "turned upright as its EXIF tag says",
    "exif_unreadable": "its EXIF data are damaged; scored as it lies in the file",
    "first_frame_only": "an animation; its first frame was scored",
    "float_image_rejected": "floating-point or HDR, in which white is unknown; not scored",
    "nonfinite_input": "it holds NaN or infinity; not scored",
    "rescaled_16bit": "more than 8 bits a channel, rescaled by bit depth",
    # flags of prompts
    "no_prompt": "no prompt, so no alignment",
    "prompt_truncated": "the prompt was longer than the critic reads; the rest was ignored",
    "prompt_unreadable": "the text beside it is no UTF-8, and was not used",
    "control_characters_removed": "invisible characters were taken out of the prompt",
    # reasons of a failure
    "damaged_archive": "the tar that it lies in is damaged",
    "damaged_image": "the file is damaged",
    "decode_timeout": "it took too long to decode",
    "decoder_crashed": "the decoder broke down over it",
    "empty_file": "the file is empty",
    "extreme_aspect_ratio": "far longer than it is wide",
    "float_image": "floating-point or HDR, in which white is unknown",
    "missing_file": "there was no such file",
    "nonfinite_score": "the critic's answer was not a number",
    "not_a_file": "not a file",
    "not_an_image": "no image that can be decoded",
    "out_of_memory": "it did not fit into memory, alone",
    "too_many_pixels": "more pixels than the limit; not decoded",
    "too_small": "too small to judge",
    "unreadable_file": "the file could not be read",
    "unsupported_mode": "a colour mode that is not known",
}
