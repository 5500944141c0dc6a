"""Labels by a language model, and prompts written by one: what is kept, what is not, resuming."""

from __future__ import annotations

import json

import pytest

from eliq.errors import ConfigError, TrainingError
from eliq.supervision.taxonomy import CONCEPTS
from training.prompts import assign, generate, read_prompts
from training.prompts.labels import assign_categories, chat_refiner
from training.prompts.smoke_chat import SmokeChat
from training.prompts.writing import WritingConfig, write_prompts
from training.stop_request import StopRequest


class Said:
    """A chat that gives one answer and remembers the questions."""

    def __init__(self, answer: str) -> None:
        self.answer, self.messages = answer, []

    def __call__(self, message: str, *, seed: int) -> str:
        self.messages.append(message)
        return self.answer


def test_a_model_is_asked_about_uncertain_prompts_only():
    chat = Said("Events; people and activities")
    sure = assign_categories("a street in the city", chat_refiner(chat))
    assert (sure.categories, sure.source) == (("Urban Scenes",), "keywords")
    assert not chat.messages
    unsure = assign_categories("a street with a crooked table", chat_refiner(chat))
    # What a keyword makes certain stays, in the paper's order.
    assert unsure.categories == ("Urban Scenes", "People & Activities", "Events")
    assert unsure.source == "refined" and len(chat.messages) == 1
    assert "It may belong to: Indoor Scenes, Objects & Artifacts" in chat.messages[0]


@pytest.mark.parametrize("answer", ["", "I cannot say", "<think>Food, surely</think> none"])
def test_an_answer_without_a_category_leaves_what_words_say(answer):
    labels = assign_categories("a crooked table", chat_refiner(Said(answer)))
    assert (labels.categories, labels.source) == (("Indoor Scenes", "Objects & Artifacts"), "hints")


def test_written_prompts_are_balanced_valid_and_unlike(tmp_path):
    out = tmp_path / "prompts.jsonl"
    report = write_prompts(SmokeChat(), out, WritingConfig(num=28), progress=False)
    prompts = read_prompts(out)
    assert report["num_kept"] == len(prompts) == 28
    assert set(report["num_by_category"].values()) == {4}
    assert len({(p.category, p.concept) for p in prompts}) == 28
    assert all(p.concept in CONCEPTS[p.category] for p in prompts)
    requests = (tmp_path / "prompts.jsonl.requests.jsonl").read_text().splitlines()
    assert len(requests) == 1 + report["num_requests"]


@pytest.mark.parametrize(
    "line, reason",
    [
        ("A calm lake between two hills", "does not show Indoor Scenes"),
        ("A sofa", "length"),
        ("A stunning red sofa in a loft", "speaks of quality"),
        ("1. A red sofa and a blue armchair by a window", "too much like another prompt"),
    ],
)
def test_rejections_are_counted_by_reason(tmp_path, line, reason):
    existing = tmp_path / "existing.txt"
    existing.write_text("A blue armchair and a red sofa by the window\n")
    report = write_prompts(
        Said(line),
        tmp_path / "out.jsonl",
        WritingConfig(num=1, max_requests=2),
        existing=read_prompts(existing),
        progress=False,
    )
    assert report["num_kept"] == 0 and report["num_requests"] == 2
    assert report["rejected"] == {reason: 2}


class Stopping(StopRequest):
    """Asks to stop after so many looks."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    @property
    def requested(self) -> bool:
        self.after -= 1
        return self.after < 0

    @requested.setter
    def requested(self, value: bool) -> None:
        pass


def test_a_stopped_or_killed_run_ends_as_an_unbroken_one(tmp_path):
    config = WritingConfig(num=20, seed=3)
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    write_prompts(SmokeChat(), whole, config, progress=False)
    first = write_prompts(SmokeChat(), parts, config, stop=Stopping(6), progress=False)
    assert first["stopped"] and len(read_prompts(parts)) == first["num_kept"] < 20
    journal = tmp_path / "parts.jsonl.requests.jsonl"
    with open(journal, "ab") as file:  # as a kill in the middle of a line leaves it
        file.write(b'{"request": 6, "kept": [')
    report = write_prompts(SmokeChat(), parts, config, progress=False)
    assert not report["stopped"]
    assert parts.read_bytes() == whole.read_bytes()
    assert journal.read_bytes() == (tmp_path / "whole.jsonl.requests.jsonl").read_bytes()
    with pytest.raises(TrainingError, match="begun with seed 3, found 4"):
        write_prompts(SmokeChat(), parts, WritingConfig(num=20, seed=4), progress=False)


def test_more_may_be_wanted_later(tmp_path):
    out = tmp_path / "out.jsonl"
    write_prompts(SmokeChat(), out, WritingConfig(num=7), progress=False)
    before = read_prompts(out)
    write_prompts(SmokeChat(), out, WritingConfig(num=10), progress=False)
    assert read_prompts(out)[:7] == before and len(read_prompts(out)) == 10


def test_config_checks_itself():
    with pytest.raises(ConfigError, match="num: expected 1 or more"):
        WritingConfig(num=0)


def test_the_scripts_smoke(tmp_path, capsys):
    assert generate.main(["--smoke", "--quiet", "--out", str(tmp_path / "p.jsonl")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_kept"] == 14 and report["rejected"]
    assert assign.main(["--smoke"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_prompts"] == 400 and set(report["num_by_source"]) == {"keywords", "hints"}
    assert generate.main(["--num", "3"]) == 2 and "--smoke" in capsys.readouterr().err


def test_assign_labels_a_list(tmp_path, capsys):
    (tmp_path / "in.txt").write_text("a man eating soup\nswirls of colour\n")
    out = tmp_path / "out.jsonl"
    assert assign.main([str(tmp_path / "in.txt"), "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["num_without_category"] == 1
    assert read_prompts(out)[0].categories == ("People & Activities", "Food")


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A random language model with a chat template, as a directory."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from tests.tiny_pipeline_parts import VOCAB_SIZE, chat_tokenizer

    folder = tmp_path_factory.mktemp("model")
    config = Qwen2Config(
        vocab_size=VOCAB_SIZE, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=4096,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    chat_tokenizer(max_length=4096).save_pretrained(folder)
    return folder


def test_any_chat_model_of_transformers_answers(tiny_model):
    import torch

    from training.prompts.chat import TransformersChat

    chat = TransformersChat(str(tiny_model), device="cpu", max_new_tokens=20)
    state = torch.get_rng_state()
    first, again, other = chat("hello", seed=1), chat("hello", seed=1), chat("hello", seed=2)
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_that_writes_nonsense_gives_no_prompts(tiny_model, tmp_path):
    from training.prompts.chat import TransformersChat

    chat = TransformersChat(str(tiny_model), device="cpu", max_new_tokens=30)
    config = WritingConfig(num=2, max_requests=2)
    report = write_prompts(chat, tmp_path / "out.jsonl", config, progress=False)
    assert report["num_kept"] == 0 and report["num_requests"] == 2


def test_models_that_do_not_do_are_refused(tiny_model, tmp_path):
    from training.prompts.chat import TransformersChat

    with pytest.raises(TrainingError, match="expected an instruction model"):
        TransformersChat(str(tmp_path / "nothing"), device="cpu")
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare)
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(TrainingError, match="chat template"):
        TransformersChat(str(bare), device="cpu")
