"""The model of IP-IQA: shapes, masks, truncation, the [QA] token, the attention map."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from eliq.errors import ConfigError, ImageError, PromptError
from eliq.ip_iqa import (
    IPIQAConfig,
    IPIQAModel,
    PromptTokenizer,
    ResNetConfig,
    TextConfig,
    collapse_check,
    image2prompt_loss,
    rating_loss,
    to_model_pixels,
)
from eliq.ip_iqa.clip_weights import resize_positions
from eliq.ip_iqa.fusion import CrossModalityAttentionPooling
from training.tiny_ip_iqa import tiny_config, tiny_model, tiny_tokenizer, tiny_vit

PROMPTS = ["a red fox", "a kite", "two dogs on the sand"]


def images(num: int = 3, size: int = 64) -> torch.Tensor:
    return torch.rand(num, 3, size, size, generator=torch.Generator().manual_seed(1))


def encoder_of(model: IPIQAModel) -> PromptTokenizer:
    return PromptTokenizer(tiny_tokenizer(), model.config)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"outputs": ("overall",)},
        {"fusion": False},
        {"qa_token": False},
        {"streams": "prompt", "fusion": False},
        {"streams": "image", "fusion": False, "qa_token": False},
        {"visual": tiny_vit()},
        {"visual": tiny_vit(map_layer=1, map_norm="none")},
    ],
    ids=str,
)
def test_every_form_scores_and_its_config_survives_json(changes):
    model = tiny_model(tiny_config(**changes))
    tokens = encoder_of(model)(PROMPTS).ids
    with torch.no_grad():
        scores = model(images(), tokens)
    assert scores.shape == (3, len(model.config.outputs)) and scores.dtype == torch.float32
    assert IPIQAConfig.from_json(model.config.to_json()) == model.config
    reads_prompt, reads_image = (model.config.streams != s for s in ("image", "prompt"))
    with torch.no_grad():
        other_prompt = model(images(), encoder_of(model)(["a bus"] * 3).ids)
        other_image = model(images().flip(2), tokens)
    assert torch.equal(scores, other_prompt) != reads_prompt
    assert torch.equal(scores, other_image) != reads_image


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"image_size_px": 65}, "image_size_px"),
        ({"outputs": ("beauty",)}, "outputs"),
        ({"streams": "image", "qa_token": False}, "fusion"),
        ({"streams": "image", "fusion": False}, "qa_token"),
        ({"cross_heads": 5}, "cross_heads"),
        ({"dropout": 1.0}, "dropout"),
        ({"std": (0.0, 1.0, 1.0)}, "std"),
        ({"embed_dim": 1 << 40}, "embed_dim"),
    ],
)
def test_what_no_model_can_be_is_refused_by_name(changes, word):
    with pytest.raises(ConfigError, match=word):
        tiny_config(**changes)


def test_a_config_file_says_everything_and_nothing_else():
    data = tiny_config().to_json()
    with pytest.raises(ConfigError, match="beam"):
        IPIQAConfig.from_json({**data, "beam": 1})
    with pytest.raises(ConfigError, match="dropout"):
        IPIQAConfig.from_json({name: v for name, v in data.items() if name != "dropout"})
    with pytest.raises(ConfigError, match="kind"):
        IPIQAConfig.from_json({**data, "visual": {**data["visual"], "kind": "mlp"}})
    with pytest.raises(ConfigError, match="eot"):
        TextConfig(sot_id=1, eot_id=1)


def test_the_defaults_are_the_published_model():
    """Sizes of CLIP RN50 at 512 px and of the released head, counted on shapes alone."""
    model = IPIQAModel.shell(IPIQAConfig.rn50())
    state = model.state_dict()
    assert state["visual.resnet.attnpool.positional_embedding"].shape == (16 * 16 + 1, 2048)
    assert state["cross.position"].shape == (257, 2048)
    assert state["cross.query.weight"].shape == (2048, 1024)
    assert state["cross.out.weight"].shape == (1024, 2048)
    assert [state[f"head.{n}.weight"].shape for n in (1, 4)] == [(2048, 2048), (2, 2048)]
    assert model.config.max_prompt_tokens == 74 and model.cross.num_heads == 32
    # CLIP RN50's visual tower has 38.32 M parameters; its table of positions grew by 207 rows.
    visual = sum(p.numel() for p in model.visual.parameters())
    assert visual == 38_316_896 + 207 * 2048


@pytest.mark.parametrize("visual", [None, tiny_vit()], ids=["resnet", "vit"])
def test_a_score_does_not_depend_on_the_batch(visual):
    """To 1e-3: other sizes of a batch take other convolution kernels, which round differently."""
    model = tiny_model(tiny_config(**({"visual": visual} if visual else {})))
    encode, pixels = encoder_of(model), images(5)
    prompts = ["a fox", "a much longer prompt about a fox", "", "b", "five words are in it"]
    with torch.no_grad():
        together = model(pixels, encode(prompts).ids)
        others = model(pixels, encode(prompts[1:] + prompts[:1]).ids)
        assert ((others - together).abs().amax(dim=1) > 1e-2).all()  # the tolerance is small
        for row, prompt in enumerate(prompts):
            alone = model(pixels[row : row + 1], encode([prompt]).ids)
            assert torch.allclose(alone, together[row : row + 1], rtol=0, atol=1e-3)
        pairs = torch.cat(
            [model(pixels[i : i + 2], encode(prompts[i : i + 2]).ids) for i in (0, 2)]
        )
    assert torch.allclose(pairs, together[:4], rtol=0, atol=1e-3)


def test_what_follows_the_end_changes_nothing():
    model = tiny_model()
    tokens = encoder_of(model)(["a fox"]).ids
    junk = torch.randint(0, 256, (1, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = model(images(1), tokens)
        padded = model(images(1), torch.cat([tokens, junk], dim=1))
        ended = model(images(1), torch.cat([tokens, torch.full((1, 3), 257)], dim=1))
    assert torch.allclose(plain, padded, atol=1e-6) and torch.allclose(plain, ended, atol=1e-6)


@pytest.mark.parametrize(("qa_token", "room"), [(True, 74), (False, 75)])
def test_prompts_are_cut_to_77_tokens_with_sot_eot_and_qa(qa_token, room):
    model = tiny_model(tiny_config(qa_token=qa_token))
    encode = encoder_of(model)
    fits, cut = encode(["x" * room]), encode(["x" * (room + 1)])
    assert fits.truncated == (False,) and cut.truncated == (True,)
    assert fits.ids.shape[1] + int(qa_token) == 77 and torch.equal(fits.ids, cut.ids)
    assert fits.ids[0, 0] == 256 and fits.ids[0, -1] == 257
    mixed = encode(["x" * 500, "y"])
    assert mixed.truncated == (True, False)
    with torch.no_grad():
        assert model(images(2), mixed.ids).isfinite().all()
        with pytest.raises(PromptError, match="at most"):
            model(images(1), torch.cat([fits.ids[:, :1], fits.ids], dim=1))


def test_a_prompt_never_becomes_a_control_token():
    encode = encoder_of(tiny_model())
    ids = encode(["<|endoftext|> a <|startoftext|>"]).ids[0].tolist()
    assert ids.count(257) == 1 and ids.count(256) == 1 and ids[-1] == 257


def test_a_tokenizer_of_another_model_is_refused():
    text = TextConfig(
        vocab_size=200, width=32, num_layers=1, num_heads=4, mlp_dim=64, sot_id=198, eot_id=199
    )
    with pytest.raises(ConfigError, match="below 200"):
        PromptTokenizer(tiny_tokenizer(), tiny_config(text=text))


def test_only_the_qa_vector_of_the_text_tower_learns():
    model = tiny_model().train()
    learning = [name for name, p in model.text.named_parameters() if p.requires_grad]
    assert learning == ["clip.text_model.embeddings.token_embedding.qa"]
    assert not model.text.clip.training and model.visual.training
    before = {name: t.clone() for name, t in model.text.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(images(), encoder_of(model)(PROMPTS).ids).square().sum().backward()
    optimizer.step()
    changed = [n for n, t in model.text.state_dict().items() if not torch.equal(t, before[n])]
    assert changed == learning


def test_the_qa_token_stands_behind_sot_and_counts_only_where_it_is_asked_for():
    model = tiny_model()
    table = model.text.clip.get_input_embeddings()
    tokens = encoder_of(model)(["ab", "c"]).ids
    assert table.insert(tokens)[:, 1].tolist() == [258, 258]
    assert torch.equal(table.insert(tokens)[:, 2:], tokens[:, 1:])
    assert torch.equal(table(torch.tensor([[258]]))[0, 0], table.qa)
    with torch.no_grad():
        plain, with_qa = model.prompt_embedding(tokens), model.text(tokens)
        table.qa.neg_()  # a constant more in every channel would be lost in the normalisation
        assert torch.equal(model.prompt_embedding(tokens), plain)
        assert (model.text(tokens) - with_qa).abs().max() > 1e-2


def test_cross_modality_pooling_by_hand():
    """One row of two cells: second channels of mean, first, second are 0, -ln 3, ln 3, which the
    text asks for: weights 3, 1, 9 of 13; first channels, which are read: 0, 1, -1."""
    pool = CrossModalityAttentionPooling(
        grid=1, map_dim=2, text_dim=1, inner_dim=2, out_dim=2, num_heads=1
    )
    pool.position = torch.nn.Parameter(torch.zeros(3, 2))
    log3 = float(torch.log(torch.tensor(3.0)))
    feature_map = torch.tensor([[[[1.0, -1.0]], [[-log3, log3]]]])  # [1,2,1,2]
    with torch.no_grad():
        for layer in (pool.key, pool.value, pool.out):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        pool.query.weight.copy_(torch.tensor([[0.0], [2**0.5]]))  # undoes 1 / sqrt(2)
        pool.query.bias.zero_()
        found = pool.attention(feature_map, torch.ones(1, 1))
        pooled = pool(feature_map, torch.ones(1, 1))
    assert torch.allclose(found.heads, torch.tensor([[[3.0, 1.0, 9.0]]]) / 13, atol=1e-6)
    assert torch.allclose(found.map, torch.tensor([[[0.1, 0.9]]]), atol=1e-6)
    assert torch.allclose(found.global_share, torch.tensor([3.0 / 13]), atol=1e-6)
    assert torch.allclose(pooled[0, 0], torch.tensor((1.0 - 9.0) / 13), atol=1e-6)


@pytest.mark.parametrize(("visual", "grid"), [(None, 2), (tiny_vit(), 4)], ids=["resnet", "vit"])
def test_attention_maps_are_shares_of_the_cells(visual, grid):
    model = tiny_model(tiny_config(**({"visual": visual} if visual else {})))
    with torch.no_grad():
        found = model.attention(images(), encoder_of(model)(["fox", "kite", "dogs"]).ids)
    assert found.map.shape == (3, grid, grid) and found.heads.shape == (3, 4, grid * grid + 1)
    assert torch.allclose(found.map.sum((1, 2)), torch.ones(3))
    assert torch.allclose(found.heads.sum(2), torch.ones(3, 4))


def test_a_model_without_fusion_has_no_map():
    model = tiny_model(tiny_config(fusion=False))
    with pytest.raises(ConfigError, match="fusion"):
        model.attention(images(1), encoder_of(model)(["a"]).ids)


def test_saved_and_loaded_into_a_shell_it_is_the_same_to_the_last_bit(tmp_path):
    for visual in (ResNetConfig((1, 1, 1, 1), 4, 4), tiny_vit()):
        model = tiny_model(tiny_config(visual=visual))
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        loaded = IPIQAModel.shell(model.config).eval()
        tensors = load_file(tmp_path / "model.safetensors")
        loaded.load_state_dict(tensors, strict=True, assign=True)
        tokens = encoder_of(model)(PROMPTS).ids
        with torch.no_grad():
            assert torch.equal(loaded(images(), tokens), model(images(), tokens))


def test_tensors_of_another_form_are_refused():
    model = tiny_model()
    tokens = encoder_of(model)(PROMPTS).ids
    for wrong in (images(size=96), images().double(), images()[0]):
        with pytest.raises(ImageError):
            model(wrong, tokens)
    with pytest.raises(ImageError, match="as many"):
        model(images(2), tokens)
    with pytest.raises(PromptError, match="end token"):
        model(images(), tokens.masked_fill(tokens == 257, 1))
    with pytest.raises(PromptError, match="int64"):
        model(images(), tokens.int())


def test_images_are_squashed_and_stay_in_range():
    assert to_model_pixels(torch.rand(3, 30, 90), 64).shape == (1, 3, 64, 64)
    step = torch.zeros(1, 3, 50, 50)
    step[..., 25:] = 1.0
    out = to_model_pixels(step, 64)
    assert out.min() == 0.0 and out.max() == 1.0  # a bicubic filter overshoots
    same = images()
    assert torch.equal(to_model_pixels(same, 64), same)
    with pytest.raises(ImageError):
        to_model_pixels(torch.zeros(2, 8, 8), 64)


def test_positions_keep_index_0_and_what_is_constant():
    table = torch.full((50, 5), 2.0)
    table[0] = 7.0
    out = resize_positions(table, 16)
    assert out.shape == (257, 5) and torch.equal(out[0], table[0])
    assert torch.allclose(out[1:], torch.full((256, 5), 2.0), atol=1e-6)
    assert resize_positions(table, 7) is table


def test_losses_by_hand():
    a, b = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 3.0], [2.0, 2.0]])
    assert float(image2prompt_loss(a, b)) == pytest.approx(0.5)  # 1 and 0
    scores = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    ratings = torch.tensor([[2.0, float("nan")], [3.0, 2.0]])
    assert float(rating_loss(scores, ratings)) == pytest.approx((1 + 0 + 4) / 3)
    with pytest.raises(ConfigError, match="rating"):
        rating_loss(scores, torch.full((2, 2), float("nan")))


def test_a_collapse_is_seen_and_its_absence_too():
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randn(20, 8, generator=generator)
    good = collapse_check(prompts + 0.1 * torch.randn(20, 8, generator=generator), prompts)
    assert not good["collapsed"] and good["retrieval"] == 1.0 and good["chance"] == 0.05
    one = torch.ones(20, 8) + 1e-3 * torch.randn(20, 8, generator=generator)
    bad = collapse_check(one, prompts)
    assert bad["collapsed"] and bad["image_spread"] < 1e-4
    # Orthogonal pairs: the mean of 1 - cosine over different rows is 1.
    eye = collapse_check(torch.eye(4), torch.eye(4))
    assert eye["image_spread"] == pytest.approx(1.0) and eye["prompt_spread"] == pytest.approx(1.0)
