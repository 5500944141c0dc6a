"""ELIQ Early Abort: gives up a sampling whose picture looks bad halfway, and begins the next seed.

Nothing of ComfyUI is replaced: the model that goes out carries two of its own wrappers.
"""

from __future__ import annotations

from typing import Any

from comfy.patcher_extension import WrappersMP
from comfy_api.latest import io

from .critic import embedded_critic
from .link_types import CRITIC, WATCH
from .node_text import TEXT_HIDDEN
from .prompt_search import ask_again, search_prompt
from .sampling_tools import preview_vae, sampling_tools
from .sampling_watch import SamplingWatch
from .try_results import ANY_IMAGE, PASS_RULES, Thresholds
from .upstream_prompt import clean_weights

__all__ = ["EarlyAbortNode"]

_KEY = "eliq_early_abort"


class EarlyAbortNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQEarlyAbort",
            display_name="ELIQ Early Abort",
            category="ELIQ",
            description=(
                "Put between a model and its sampler. At a fraction of the way the picture as the "
                "model then expects it is scored; below the thresholds the sampling is given up "
                "and begun again with the next seed. The result is to the last bit what a plain "
                "run of the seed gives that ELIQ Used Seed tells."
            ),
            search_aliases=[
                "early stopping",
                "early abort",
                "abort sampling",
                "restart sampling",
                "skip bad seeds",
                "seed search",
            ],
            is_experimental=True,
            enable_expand=True,
            hidden=list(TEXT_HIDDEN),
            inputs=[
                io.Model.Input("model", tooltip="The model that the sampler is to run."),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    placeholder="prompt (empty: found in the graph)",
                    tooltip="The prompt that the picture should match. Empty = the text found "
                    "before 'positive'.",
                ),
                io.Float.Input(
                    "at",
                    default=0.4,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Fraction of the way at which the picture is scored, counted as "
                    "ComfyUI counts the start and end of a ControlNet. Earlier saves more and "
                    "errs more.",
                ),
                io.Float.Input(
                    "min_visual_quality",
                    default=0.3,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Least visual quality. 0 = off. An unfinished picture scores lower "
                    "than the finished one will.",
                ),
                io.Float.Input(
                    "min_alignment",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Least alignment with the prompt. 0 = off.",
                ),
                io.Int.Input(
                    "max_restarts",
                    default=4,
                    min=0,
                    max=63,
                    tooltip="Further seeds to try. When none passes, the best of them is sampled "
                    "to the end.",
                ),
                io.Combo.Input(
                    "pass_rule",
                    options=list(PASS_RULES),
                    default=ANY_IMAGE,
                    optional=True,
                    advanced=True,
                    tooltip="For batches: whether one image that passes is enough.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Decodes the unfinished picture. Nothing linked = the small TAESD "
                    "decoder of the model's family in models/vae_approx, if it is there.",
                ),
                CRITIC.Input(
                    "critic",
                    optional=True,
                    tooltip="From ELIQ Load Critic. Nothing linked = the embedded critic.",
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    lazy=True,
                    raw_link=True,
                    tooltip="The sampler's positive conditioning: its text is the prompt where "
                    "none is typed.",
                ),
                io.Boolean.Input(
                    "find_prompt",
                    default=True,
                    optional=True,
                    advanced=True,
                    tooltip="Look for the prompt behind 'positive' when none is typed. Off: no "
                    "prompt, no alignment.",
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The model, for the sampler."),
                WATCH.Output("watch", tooltip="For ELIQ Used Seed: what became of the samplings."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        prompt: str,
        at: float,
        min_visual_quality: float,
        min_alignment: float,
        max_restarts: int,
        pass_rule: str = ANY_IMAGE,
        vae: Any = None,
        critic: Any = None,
        positive: Any = None,
        find_prompt: bool = True,
    ) -> io.NodeOutput:
        prompt = clean_weights(prompt)
        if not prompt and find_prompt:
            found = search_prompt(cls.hidden, positive, "positive")
            if found.link is not None:
                return ask_again(cls.hidden, "ELIQEarlyAbort", found.link, num_outputs=2)
            prompt = clean_weights(found.text)
        if min_alignment > 0 and not prompt:
            raise ValueError(
                "min_alignment: expected a prompt to align with, found none: type it, link "
                "'positive', or set min_alignment to 0"
            )
        decoder = preview_vae(model) if vae is None else vae
        chosen = embedded_critic() if critic is None else critic
        watch = SamplingWatch(
            at,
            Thresholds(min_visual_quality, min_alignment, pass_rule),
            max_restarts,
            sampling_tools(cls, decoder, chosen, prompt or None),
        )
        watched = _with_wrappers(model, watch)
        # Loaded with the sampler, so that they lie ready on its way.
        watched.set_additional_models(_KEY, [decoder.patcher, chosen.patcher])
        return io.NodeOutput(watched, watch)


def _with_wrappers(model: Any, watch: SamplingWatch) -> Any:
    watched = model.clone()
    wrappers = {
        WrappersMP.OUTER_SAMPLE: watch.outer_sample,
        WrappersMP.PREDICT_NOISE: watch.predict_noise,
    }
    for kind, wrapper in wrappers.items():
        watched.remove_wrappers_with_key(kind, _KEY)  # of an ELIQ Early Abort before this one
        watched.add_wrapper_with_key(kind, _KEY, wrapper)
    # Outermost: what other patches keep during a sampling must begin anew with each seed.
    outer = watched.wrappers[WrappersMP.OUTER_SAMPLE]
    watched.wrappers[WrappersMP.OUTER_SAMPLE] = {_KEY: outer.pop(_KEY), **outer}
    return watched
