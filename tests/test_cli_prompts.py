"""Which prompt belongs to which image: files of prompts, and texts beside the images."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from eliq.cli.inputs import find_images, pair_prompts
from eliq.errors import ImageError, PromptError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "a.png", "c.JPG.png", "sub/d.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    return tmp_path


def test_sources_keep_their_order_and_folders_are_sorted(folder):
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.md").write_text("no image")
    named = [str(folder / "b.png"), str(folder), str(folder / "gone.png")]
    found = [path.removeprefix(f"{folder}/") for path in find_images(named)]
    assert found == ["b.png", "a.png", "b.png", "c.JPG.png", "sub/d.png", "gone.png"]
    with pytest.raises(ImageError, match="no such file"):
        find_images([str(folder / "gone.png")])


@pytest.mark.parametrize("kind", ["jsonl", "csv", "txt"])
def test_prompts_from_a_file(folder, kind):
    paths = find_images([str(folder)])
    texts = {
        "jsonl": '\ufeff{"path": "a.png", "prompt": "one, a"}\n\n'
        '{"file_name": "sub/d.png", "text": "four"}\n{"path": "gone.png", "prompt": "x"}\n'
        '{"path": "b.png", "prompt": null}\n',
        "csv": 'prompt,path\n"one, a",a.png\nfour,sub/../sub/d.png\n',
        "txt": "one, a\n\n\nfour\n",
    }
    file = folder / f"prompts.{kind}"
    file.write_text(texts[kind], encoding="utf-8")
    found = [item.prompt for item in pair_prompts(paths, prompts_path=str(file))]
    assert found[0] == "one, a" and found[3] == "four"
    assert not found[1] and not found[2]


def test_the_text_beside_an_image_is_its_prompt(folder):
    (folder / "a.txt").write_text(" a fox\n", encoding="utf-8")
    paths = find_images([str(folder)])
    assert [item.prompt for item in pair_prompts(paths)] == ["a fox", None, None, None]
    assert pair_prompts(paths, prompt="b")[0].prompt == "b"
    # A text given as an image is not its own prompt.
    assert pair_prompts([str(folder / "a.txt")])[0].prompt is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.jsonl", "{oops\n", "line 1"),
        ("p.jsonl", '{"path": "a.png"}\n["a.png", "x"]\n', "line 2"),
        ("p.jsonl", '{"prompt": "x"}\n', '"path"'),
        ("p.jsonl", '{"path": "a.png", "prompt": 3}\n', '"prompt" to be text'),
        ("p.jsonl", "[" * 100_000, "line 1"),
        ("p.csv", "image;text\na.png;x\n", "found image;text"),
        ("p.csv", "file,prompt\na.png,x\n", "found file, prompt"),
        ("p.csv", "path,prompt\nsub/a.png,x\n", "any of the 4 images"),
        ("p.csv", "path,prompt\na.png,\n", "a.png' without a prompt"),
        ("p.csv", "path,prompt\n", "found no row"),
        ("p.txt", "only one line\n", "4 images, found 1"),
        ("p.md", "x", ".jsonl, .csv or .txt"),
    ],
)
def test_a_bad_prompts_file_is_named(folder, name, text, said):
    file = folder / name
    file.write_text(text)
    with pytest.raises(PromptError, match="expected") as caught:
        pair_prompts(find_images([str(folder)]), prompts_path=str(file))
    assert said in str(caught.value) and name in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_to_one_file_keep_each_their_own_prompt(folder):
    links = folder / "links"
    links.mkdir()
    for name in ("x", "y", "z"):
        (links / f"{name}.png").symlink_to(folder / "a.png")
    file = folder / "p.csv"
    file.write_text("path,prompt\nlinks/x.png,a fox\nlinks/y.png,a mug\nb.png,a cup\n")
    paths = find_images([str(links)])
    found = [item.prompt for item in pair_prompts(paths, prompts_path=str(file))]
    assert found == ["a fox", "a mug", None]
    file.write_text("path,prompt\na.png,a fox\n")
    found = [item.prompt for item in pair_prompts(paths, prompts_path=str(file))]
    assert found == ["a fox"] * 3, "where no row names the path, links are followed"


def test_rows_that_contradict_each_other_are_refused(folder):
    file = folder / "p.csv"
    file.write_text("path,prompt\na.png,a fox\n./a.png,a mug\n")
    with pytest.raises(PromptError, match=r"two rows give .*a\.png different prompts"):
        pair_prompts(find_images([str(folder)]), prompts_path=str(file))
