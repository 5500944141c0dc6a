"""Row-gather on bare denoisers: which arguments have rows, and what comes back."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers.models.modeling_outputs import Transformer2DModelOutput  # noqa: E402
from torch import nn  # noqa: E402

from eliq.diffusion.row_gather import RowGather  # noqa: E402
from eliq.errors import DiffusionError  # noqa: E402
from tests.rounding import SCORE_ROUNDING  # noqa: E402


class Denoiser(nn.Module):
    """Keeps what it was called with; its output is twice its input."""

    def __init__(self, answer=lambda x: (2 * x,)) -> None:
        super().__init__()
        self.answer, self.seen = answer, None

    def forward(self, hidden_states, *args, **kwargs):
        self.seen = (hidden_states, args, kwargs)
        if isinstance(hidden_states, list):
            return ([2 * row for row in hidden_states],)
        return self.answer(hidden_states)


def rows(*shape, start=0):
    """Row i is filled with start + i."""
    values = torch.arange(start, start + shape[0], dtype=torch.float32)
    return values.view(-1, *[1] * (len(shape) - 1)).expand(shape).clone()


def ids(tensor):
    return [int(value) for value in tensor.flatten(1)[:, 0]]


def test_rows_of_every_kind_of_argument():
    denoiser = Denoiser()
    latents = rows(6, 4)
    with RowGather([denoiser], 6) as gather:
        gather.keep_only([4, 1])
        (output,) = denoiser(
            hidden_states=latents,
            timestep=rows(6),
            guidance=None,
            pooled=rows(6, 3),
            added_cond_kwargs={"text_embeds": rows(6, 2), "time_ids": rows(6, 6), "scale": 0.5},
            joint_attention_kwargs={"images": [rows(6, 2), rows(6, 3)], "mask": rows(5, 2)},
            img_shapes=[[(1, i, i)] for i in range(6)],
            txt_seq_lens=[10, 11, 12, 13, 14, 15],
            skip_layers=[0, 1, 2, 3, 4, 5],
            residuals=(rows(6, 2), rows(6, 3)),
            img_ids=rows(6, 3),
            txt_ids=rows(6, 3),
            image_rotary_emb=(rows(6, 2), rows(6, 2)),
            scalar=torch.tensor(3.0),
            return_dict=False,
        )
    seen, _, named = denoiser.seen
    assert ids(seen) == [1, 4]
    assert named["timestep"].tolist() == [1, 4] and ids(named["pooled"]) == [1, 4]
    assert [ids(named["added_cond_kwargs"][n]) for n in ("text_embeds", "time_ids")] == [[1, 4]] * 2
    assert named["added_cond_kwargs"]["scale"] == 0.5
    assert [ids(one) for one in named["joint_attention_kwargs"]["images"]] == [[1, 4]] * 2
    assert len(named["joint_attention_kwargs"]["mask"]) == 5
    assert named["img_shapes"] == [[(1, 1, 1)], [(1, 4, 4)]]
    assert named["txt_seq_lens"] == [11, 14] and named["skip_layers"] == [0, 1, 2, 3, 4, 5]
    assert [ids(one) for one in named["residuals"]] == [[1, 4]] * 2
    for name in ("img_ids", "txt_ids"):  # six positions, not six rows
        assert len(named[name]) == 6
    assert all(len(part) == 6 for part in named["image_rotary_emb"])
    assert named["scalar"] == 3 and named["guidance"] is None and named["return_dict"] is False
    # Kept rows in their places; the others are copies of a kept row.
    assert ids(output) == [2, 2, 2, 2, 8, 2]
    assert (gather.rows_run, gather.rows_full) == (2, 6)
    assert torch.equal(latents, rows(6, 4))


def test_both_halves_of_a_batch_with_guidance():
    denoiser = Denoiser()
    latents = torch.cat([rows(3, 4)] * 2)
    embeds = torch.cat([rows(3, 2, start=10), rows(3, 2, start=20)])
    with RowGather([denoiser], 3) as gather:
        denoiser(latents, encoder_hidden_states=embeds)
        gather.keep_only([0, 2])
        (output,) = denoiser(latents, encoder_hidden_states=embeds)
        assert ids(denoiser.seen[2]["encoder_hidden_states"]) == [10, 12, 20, 22]
        assert ids(output) == [0, 0, 4, 0, 0, 4]
        gather.keep_only([2])
        (output,) = denoiser(latents, encoder_hidden_states=embeds)
    assert ids(output) == [4] * 6
    assert (gather.rows_run, gather.rows_full) == (6 + 4 + 2, 18)


def test_lists_of_rows_whose_own_first_dimension_is_as_long():
    """Z-Image: eight candidates with guidance are 16 rows of 16 channels."""
    denoiser = Denoiser()
    latents = [torch.full((16, 1, 2, 2), float(i % 8)) for i in range(16)]
    captions = [torch.full((16, 5), float(i)) for i in range(16)]
    with RowGather([denoiser], 8) as gather:
        gather.keep_only([3])
        (output,) = denoiser(latents, rows(16), captions)
    seen, (timestep, texts), _ = denoiser.seen
    assert [tuple(row.shape) for row in seen] == [(16, 1, 2, 2)] * 2
    assert timestep.tolist() == [3, 11] and [int(text[0, 0]) for text in texts] == [3, 11]
    assert isinstance(output, list) and len(output) == 16 and int(output[0][0, 0, 0, 0]) == 6


@pytest.mark.parametrize(
    "answer, read",
    [
        (lambda x: 2 * x, lambda out: out),
        (lambda x: (2 * x,), lambda out: out[0]),
        (lambda x: Transformer2DModelOutput(sample=2 * x), lambda out: out.sample),
        (lambda x: (2 * x, {"features": torch.zeros(7)}), lambda out: out[0]),
    ],
)
def test_outputs_of_every_kind(answer, read):
    denoiser = Denoiser(answer)
    with RowGather([denoiser], 3) as gather:
        gather.keep_only([1])
        output = denoiser(rows(3, 4))
    assert ids(read(output)) == [2, 2, 2] and type(output) is type(answer(rows(3, 4)))


def test_what_cannot_be_told_apart_is_refused():
    denoiser = Denoiser()
    with RowGather([denoiser], 3) as gather:
        denoiser(rows(4, 2))  # nothing is dropped yet
        gather.keep_only([0])
        with pytest.raises(DiffusionError, match="multiple of 3 rows.*found 4"):
            denoiser(rows(4, 2))
        with pytest.raises(DiffusionError, match="in turns"):
            denoiser(rows(3, 2).repeat_interleave(2, dim=0))
        with pytest.raises(DiffusionError, match="as the first argument"):
            denoiser(None)
        denoiser.answer = lambda x: (x.sum(),)
        with pytest.raises(DiffusionError, match="an output with 1 rows"):
            denoiser(rows(3, 2))
        for keep in ([], [1], [7]):
            with pytest.raises(DiffusionError, match="to keep"):
                gather.keep_only(keep)
    with pytest.raises(DiffusionError):
        RowGather([], 3)
    with pytest.raises(DiffusionError):
        RowGather([denoiser], 0)


def test_nested_and_restored_after_an_exception():
    denoiser, plain = Denoiser(), dict(vars(nn.Module()))
    with pytest.raises(ZeroDivisionError):
        with RowGather([denoiser], 4) as outer:
            outer.keep_only([0, 1])
            with RowGather([denoiser], 2) as inner:  # of what the outer one lets through
                inner.keep_only([1])
                assert ids(denoiser(rows(4, 2))[0]) == [2, 2, 2, 2]
                assert ids(denoiser.seen[0]) == [1]
            assert ids(denoiser(rows(4, 2))[0]) == [0, 2, 0, 0]
            denoiser.answer = lambda x: 1 / 0
            denoiser(rows(4, 2))
    for name in ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs"):
        assert vars(denoiser)[name] == plain[name]
    denoiser.answer = lambda x: (2 * x,)
    assert ids(denoiser(rows(4, 2))[0]) == [0, 2, 4, 6]


class Autoencoder(nn.Module):
    def decode(self, z, return_dict=True, generator=None):
        self.seen = z, generator
        return (z,)


def test_the_autoencoder_is_given_the_kept_rows():
    denoiser, vae = Denoiser(), Autoencoder()
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    with RowGather([denoiser], 3, vae=vae) as gather:
        vae.decode(rows(3, 2))
        assert gather.decodes == 3
        gather.keep_only([2])
        assert ids(vae.decode(rows(3, 2), return_dict=False, generator=generators)[0]) == [2]
        assert vae.seen[1] == [generators[2]] and gather.decodes == 4
        assert ids(vae.decode(rows(1, 2))[0]) == [0]  # a preview
    assert "decode" not in vars(vae)
    own = vae.decode
    vae.decode = own  # somebody's, on the instance
    with RowGather([denoiser], 3, vae=vae):
        assert vars(vae)["decode"] is not own
    assert vars(vae)["decode"] is own


@pytest.mark.parametrize("way", ["wrapped", "in place"])
def test_a_compiled_module(way):
    module = nn.Linear(4, 4)
    latents, seen = torch.randn(4, 4), []
    expected = module(latents)

    def backend(graph, inputs):
        return lambda *args: seen.append(len(args[-1])) or graph(*args)

    if way == "wrapped":
        compiled = torch.compile(module, backend=backend)
    else:
        module.compile(backend=backend)
        compiled = module
    inside = vars(compiled).get("_compiled_call_impl")
    try:
        compiled(latents)
        with RowGather([compiled], 4) as gather:
            gather.keep_only([1, 2])
            output = compiled(latents)
        assert torch.allclose(output[1:3], expected[1:3], atol=SCORE_ROUNDING) and torch.equal(
            output[0], output[1]
        )
        assert (gather.rows_run, gather.rows_full) == (2, 4)
        assert torch.allclose(compiled(latents), expected, atol=SCORE_ROUNDING)
        assert vars(compiled).get("_compiled_call_impl") is inside
    finally:
        torch.compiler.reset()
