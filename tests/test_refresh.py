"""A new era: anchors, the grown set, the link of scales, the drift report, the script."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eliq import Scorer
from eliq.calibration import Calibration
from eliq.checkpoint import read_config
from eliq.errors import ConfigError, SupervisionError, TrainingError
from eliq.supervision import bare_prompt
from tests.tiny_supervision import write_set
from training.dataset import read_supervision
from training.eras import (
    Anchors,
    Limits,
    NewEra,
    add_anchors,
    drift_report,
    grow_set,
    link_scales,
    old_settings,
    prepare,
    read_anchors,
    settings_in_words,
    write_drift_report,
)
from training.eras.alarms import agreement_in_words, alarms_of
from training.refresh import main
from training.stage_settings import stage_configs


@pytest.fixture
def old_set(tmp_path):
    folder = write_set(tmp_path / "old")
    config = {"config": {"max_side_px": 64}, "format": "eliq-supervision"}
    (folder / "supervision.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def anchors(tmp_path, old_set) -> Anchors:
    rows = read_supervision(old_set)
    held_out = rows.split(0.5, seed=0)[1]
    return add_anchors(read_anchors(tmp_path / "anchors"), held_out, "era-1", num_prompts=3)


def test_anchors_are_points_in_known_orders(anchors):
    assert len(anchors.prompts) == 3 and anchors.eras == ["era-1"]
    by_score: dict[str, list] = {}
    for chain in anchors.chains.values():
        by_score.setdefault(chain.score, []).append(chain)
    assert [len(by_score[name]) for name in ("visual_quality", "alignment")] == [9, 3]
    for chain in anchors.chains.values():
        best = anchors.points[chain.anchors[0]]
        assert best.is_positive and bare_prompt(best.prompt) in anchors.prompts
        assert not any(anchors.points[key].is_positive for key in chain.anchors[1:])
    ladder = [chain for chain in anchors.chains.values() if chain.kind.startswith("ladder")]
    assert {len(chain.anchors) for chain in ladder} == {4}


def test_anchors_are_read_as_they_were_frozen(anchors, old_set):
    again = read_anchors(anchors.folder)
    assert again.to_json() == anchors.to_json() and again.sha256 == anchors.sha256
    same = add_anchors(again, read_supervision(old_set), "era-1", num_prompts=9)
    assert same.to_json() == anchors.to_json()  # an era is frozen once
    path = again.path(next(iter(again.points)))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(TrainingError, match="found it changed"):
        read_anchors(anchors.folder)
    path.unlink()
    with pytest.raises(TrainingError, match="found it missing"):
        read_anchors(anchors.folder)


def test_a_grown_set_holds_both_eras_without_the_anchors(tmp_path, old_set, anchors):
    new_set = write_set(tmp_path / "new", num_sources=6, seed=1)
    (new_set / "supervision.json").write_text('{"config": {}}')
    counts = grow_set(old_set, new_set, tmp_path / "grown", "era-2", anchors)
    rows = read_supervision(tmp_path / "grown")
    assert len(rows.tuples) == sum(counts["tuples"].values())
    assert not {bare_prompt(row.prompt) for row in (*rows.tuples, *rows.ladders)} & anchors.prompts
    assert sum(counts["tuples"].values()) + sum(counts["ladders"].values()) == (
        2 * (10 + 6) - counts["num_anchor_rows"]
    )
    ids = [row.tuple_id for row in rows.tuples]
    assert any(i.startswith("era-2-") for i in ids) and len(set(ids)) == len(ids)
    before = (tmp_path / "grown" / "manifest.jsonl").read_bytes()
    grow_set(old_set, new_set, tmp_path / "grown", "era-2", anchors)
    assert (tmp_path / "grown" / "manifest.jsonl").read_bytes() == before
    third = grow_set(tmp_path / "grown", new_set, tmp_path / "third", "era-3", anchors)
    assert set(third["tuples"]) == {"era-1", "era-2", "era-3"}
    with pytest.raises(SupervisionError, match="already holds"):
        grow_set(tmp_path / "grown", new_set, tmp_path / "fourth", "era-2", anchors)


def test_words_of_anchors_are_not_taught_to_be_wrong(tmp_path, old_set, anchors):
    """An anchor's prompt may be the wrong prompt of another row, and a variant of a third."""
    frozen = next(point.prompt for point in anchors.points.values() if point.is_positive)
    new_set = write_set(tmp_path / "new", num_sources=6, seed=1)
    (new_set / "supervision.json").write_text('{"config": {}}')
    path = new_set / "manifest.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for i, row in enumerate(rows):
        row["prompt"] = f"a lamp {i}"
    rows[0] |= {"negative_prompt": f" {frozen.upper()}.", "negative_prompt_kind": "shuffle"}
    rows[1] |= {"negative_prompt": frozen, "negative_prompt_kind": "colour"}
    rows[2] |= {"prompt_group": frozen}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    grow_set(old_set, new_set, tmp_path / "grown", "era-2", anchors)
    grown = {row.tuple_id: row for row in read_supervision(tmp_path / "grown").tuples}
    assert "era-2-t002" not in grown
    known = {row.prompt for row in grown.values()}
    for name in ("era-2-t000", "era-2-t001"):
        assert grown[name].negative_prompt in known - {grown[name].prompt}
        assert grown[name].negative_prompt_kind == "shuffle"
    assert grown["era-2-t003"].negative_prompt == rows[3]["negative_prompt"]


def test_an_anchor_that_is_a_variant_keeps_its_group_out(tmp_path):
    old_set = write_set(tmp_path / "old", num_sources=4)
    (old_set / "supervision.json").write_text('{"config": {}}')
    path = old_set / "manifest.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["prompt_group"] = rows[0]["prompt"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    held_out = read_supervision(old_set)
    found = add_anchors(
        read_anchors(tmp_path / "anchors"),
        held_out,
        "era-1",
        num_prompts=1,
        prefer=[bare_prompt(rows[1]["prompt"])],
    )
    assert found.prompts == {bare_prompt(rows[i]["prompt"]) for i in (0, 1)}
    assert read_anchors(found.folder).prompts == found.prompts


def test_a_link_undoes_a_change_of_scale():
    raw = np.random.default_rng(0).normal(size=50)
    old = Calibration(2.0, -0.3)
    link = link_scales(raw, raw * 7 + 100, old)
    assert link.slope == pytest.approx(1 / 7) and link.srcc == 1
    assert link.rms == pytest.approx(0, abs=1e-9) and link.bend == pytest.approx(0, abs=1e-9)
    # By hand: old raw 0 and 2 against new raw 10 and 14: mean 1 and 12, deviation 1 and 2.
    link = link_scales([0.0, 2.0], [10.0, 14.0], Calibration(3.0, 1.0))
    assert (link.slope, link.offset) == (pytest.approx(0.5), pytest.approx(-5.0))
    assert link.calibration.slope == pytest.approx(1.5)
    assert link.calibration.offset == pytest.approx(-14.0)


def test_a_link_is_symmetric_and_does_not_shrink_scores():
    rng = np.random.default_rng(0)
    old = rng.normal(size=200)
    new = 3 * old + 4 * rng.normal(size=200)
    there, back = (link_scales(*pair, Calibration()) for pair in ((old, new), (new, old)))
    assert there.slope * back.slope == pytest.approx(1)
    assert (there.slope * new + there.offset).std() == pytest.approx(old.std())


def test_a_curved_change_shows_as_bend():
    raw = np.linspace(-3, 3, 60)
    link = link_scales(raw, np.exp(2 * raw), Calibration())
    assert link.srcc == 1 and link.bend > 0.2
    assert all(b >= a for a, b in zip(link.knots, link.knots[1:], strict=False))


@pytest.mark.parametrize("new", [[3.0, 2.0, 1.0], [1.0, 1.0, 1.0], [1.0, np.nan, 2.0]])
def test_no_link_without_a_common_order(new):
    with pytest.raises(ConfigError):
        link_scales([1.0, 2.0, 3.0], new, Calibration())


def raws(anchors: Anchors, score) -> dict[str, dict[str, float | None]]:
    names = ("visual_quality", "alignment")
    return {key: dict.fromkeys(names, score(i)) for i, key in enumerate(anchors.points)}


PLAIN = {"visual_quality": Calibration(), "alignment": Calibration()}


def test_the_same_critic_does_not_drift(anchors):
    rng = np.random.default_rng(0)
    values = rng.normal(size=len(anchors.points)).tolist()
    scores = raws(anchors, values.__getitem__)
    report = drift_report(anchors, scores, scores, PLAIN, PLAIN)
    assert report.alarms == [] and report.num_failed == 0
    for drift in report.scores.values():
        assert drift.numbers["srcc"] == 1 and drift.numbers["largest_difference"] == 0
        order = drift.numbers["known_order"]
        assert order["old"] == order["new"]
    json.dumps(report.to_json(), allow_nan=False)


def test_known_orders_by_hand(anchors):
    """A critic that follows the chains against one that runs against them."""
    place = {key: 0.0 for key in anchors.points}
    for chain in anchors.chains.values():
        for i, key in enumerate(chain.anchors):
            place[key] = min(place[key], -float(i))
    right = {key: {"visual_quality": v, "alignment": v} for key, v in place.items()}
    wrong = {key: {name: -v for name, v in row.items()} for key, row in right.items()}
    report = drift_report(anchors, right, wrong, PLAIN, PLAIN)
    order = report.scores["visual_quality"].numbers["known_order"]
    assert (order["num"], order["old"], order["new"]) == (15, 1.0, 0.0)
    assert report.scores["visual_quality"].link is None
    said = " ".join(report.alarms)
    assert "order the anchors alike" in said
    assert "known orders kept fell from 15 of 15 pairs to 0 of 15" in said


def test_disagreements_are_named_and_failed_images_counted(anchors):
    rng = np.random.default_rng(0)
    old = raws(anchors, rng.normal(size=len(anchors.points)).tolist().__getitem__)
    new = json.loads(json.dumps(old))
    moved, failed = list(anchors.points)[3], list(anchors.points)[5]
    new[moved]["alignment"] += 6
    new[failed] = {"visual_quality": None, "alignment": None}
    report = drift_report(anchors, old, new, PLAIN, PLAIN)
    assert report.disagreements[0]["anchor"] == moved and report.num_failed == 1
    assert report.scores["alignment"].numbers["num_anchors"] == len(anchors.points) - 1


def test_the_report_is_a_picture_numbers_and_a_page(anchors, tmp_path):
    rng = np.random.default_rng(0)
    old = raws(anchors, rng.normal(size=len(anchors.points)).tolist().__getitem__)
    report = drift_report(anchors, old, old, PLAIN, PLAIN)
    paths = write_drift_report(report, anchors, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "drift.json").read_text())["alarms"] == []
    page = (tmp_path / "out" / "drift.html").read_text(encoding="utf-8")
    assert "http://" not in page and "best first" not in page
    for shown in ("Alarms", "3 prompts", "too few to trust", "source_0"):
        assert shown in page
    assert {row["what"] for row in report.disagreements} <= {
        anchors.what(k) for k in anchors.points
    }
    wrong = [c.anchors[1] for c in anchors.chains.values() if c.score == "alignment"]
    assert all("prompt" in anchors.what(key) for key in wrong)
    kinds = {chain.kind for chain in anchors.chains.values() if chain.kind.startswith("ladder")}
    assert any(f"{kind[7:].replace('_', ' ')} 2" in page for kind in kinds)
    if "picture" in paths:
        assert (tmp_path / "out" / "drift.png").read_bytes().startswith(b"\x89PNG")


def test_an_interval_is_drawn_by_prompt_or_called_too_few(tmp_path):
    """Two anchors of a prompt are not two witnesses: 3 prompts give no interval, 12 give one."""
    held_out = read_supervision(write_set(tmp_path / "set", num_sources=12))
    for num_prompts in (3, 12):
        found = add_anchors(
            read_anchors(tmp_path / str(num_prompts)), held_out, "era-1", num_prompts=num_prompts
        )
        assert (
            found.counts("era-1")["prompts"] == num_prompts == len(set(found.own_prompts.values()))
        )
        rng = np.random.default_rng(0)
        old, new = (raws(found, rng.normal(size=len(found.points)).tolist().__getitem__)
                    for _ in range(2))  # fmt: skip
        report = drift_report(found, old, new, PLAIN, PLAIN)
        numbers = report.scores["alignment"].numbers
        assert numbers["num_prompts"] == num_prompts and numbers["num_images"] > num_prompts
        said = agreement_in_words(numbers)
        assert f"of {num_prompts} prompts" in said
        if num_prompts == 3:
            assert numbers["srcc_interval"] is None and "too few to trust: 3 prompts" in said
        else:
            low, high = numbers["srcc_interval"]
            assert low < numbers["srcc"] < high and numbers["too_few"] is None


def test_alarms_say_what_moved_and_out_of_how_many(anchors):
    """The spread to 0.47 of what it was is no change by 0.47."""
    numbers = {
        "srcc": 0.9, "srcc_interval": None, "too_few": "too few", "num_anchors": 40,
        "num_prompts": 6, "num_images": 30,
        "known_order": {"num": 6, "num_old": 6, "num_new": 5, "old": 1.0, "new": 0.8333},
        "spread": {
            "old": {"std": 0.328, "saturated": 0.0},
            "new": {"std": 0.328, "saturated": 0.3},
            "new_own_scale": {"std": 0.154, "saturated": 0.0},
        },
    }  # fmt: skip
    raw = np.linspace(-3, 3, 60)
    bent = link_scales(raw, np.exp(2 * raw), Calibration())
    order, spread, edge, bend = alarms_of(numbers, bent, Limits())
    assert order == "known orders kept fell from 6 of 6 pairs to 5 of 6"
    assert spread.endswith("shrank to 0.47 of what it was (0.328 -> 0.154)")
    assert edge.startswith("12 of 40 anchors")
    assert "choose thresholds anew" in bend and f"{bent.bend:.2f}" in bend


def test_a_folder_belongs_to_one_refresh(tmp_path, old_set):
    new_set = write_set(tmp_path / "new", num_sources=6, seed=1)
    (new_set / "supervision.json").write_text('{"config": {}}')
    settings = {"old_set": old_set, "new_images": new_set, "out": tmp_path / "out"}
    frozen = {"num_anchors": 2, "num_new_anchors": 1, "held_out_share": 0.5}
    embedded = Scorer.from_pretrained(device="cpu", probe=False).directory
    first = prepare(NewEra(embedded, **settings, **frozen))
    assert first.eras == ["era-1", "era-2"]
    assert prepare(NewEra(embedded, **settings, **frozen)).to_json() == first.to_json()
    with pytest.raises(TrainingError, match="num_anchors"):
        prepare(NewEra(embedded, **settings, **frozen | {"num_anchors": 3}))
    # The next refresh goes on with these anchors, and adds its own.
    newest = write_set(tmp_path / "newest", num_sources=6, seed=2)
    (newest / "supervision.json").write_text('{"config": {}}')
    second = prepare(
        NewEra(
            embedded,
            old_set=tmp_path / "out" / "set",
            new_images=newest,
            out=tmp_path / "second",
            old_anchors=tmp_path / "out" / "anchors",
            **frozen,
        )
    )
    assert second.eras == ["era-1", "era-2", "era-3"]
    assert set(first.points) < set(second.points)


def test_a_small_era_is_not_all_frozen(tmp_path, old_set, caplog):
    """With as many anchors as prompts nothing of the new era would be left to train on."""
    new_set = write_set(tmp_path / "new", num_sources=9, seed=1)
    (new_set / "supervision.json").write_text('{"config": {}}')
    settings = {"old_set": old_set, "out": tmp_path / "out", "num_anchors": 2}
    embedded = Scorer.from_pretrained(device="cpu", probe=False).directory
    anchors = prepare(NewEra(embedded, new_images=new_set, **settings))
    frozen = {p.prompt for p in anchors.points.values() if p.era == "era-2" and p.is_positive}
    assert len(frozen) == 2, "a quarter of nine"
    assert "2 of the new era's 9 prompts" in caplog.text
    assert "where 2 were meant" in caplog.text, "a tenth of ten prompts is one"
    rows = read_supervision(tmp_path / "out" / "set").tuples
    assert sum(row.tuple_id.startswith("era-2-") for row in rows) == 7
    one = write_set(tmp_path / "one", num_sources=1, seed=2)
    (one / "supervision.json").write_text('{"config": {}}')
    with pytest.raises(ConfigError, match="2 prompts or more"):
        prepare(NewEra(embedded, new_images=one, **settings | {"out": tmp_path / "second"}))
    with pytest.raises(SupervisionError, match="nothing of era-2 is left"):
        grow_set(old_set, one, tmp_path / "third", "era-2", all_of(one, tmp_path / "frozen"))


def all_of(folder, out) -> Anchors:
    return add_anchors(read_anchors(out), read_supervision(folder), "era-2", num_prompts=9)


def test_the_old_critics_head_and_settings_are_taken_over():
    """Embedded: 96 wide, 1 layer. What is given goes first, and the lines say which is which."""
    critic = Scorer.from_pretrained(device="cpu", probe=False).directory
    recorded = read_config(critic).training
    old = old_settings(critic)
    assert (old[1]["model_dim"], old[1]["num_layers"]) == (96, 1)
    assert old[0]["learning_rate"] == recorded["stage1_config"]["learning_rate"]
    assert not {"seed", "num_workers"} & (set(old[0]) | set(old[1]))
    given = {}, {"num_layers": 2}
    used = stage_configs(0, old[0], old[1] | given[1])
    assert (used[1].model_dim, used[1].num_layers) == (96, 2)
    lines = settings_in_words("OLD", old, given, used)
    assert lines[0] == f"head: 96 wide, 2 layers, 4 heads, {used[1].ffn_dim} inside (given)"
    assert "stage 2: given for this refresh: num_layers=2" in lines
    assert any(line.startswith("stage 1: settings that OLD was trained with:") for line in lines)
    other = old_settings(critic, same_backbone=False)
    assert other[0] == {} and other[1] == old[1]


def test_smoke_from_old_to_new_and_again(tmp_path, capsys, caplog):
    out = tmp_path / "new"
    caplog.set_level("INFO", logger="eliq")
    assert main(["--smoke", "--device", "cpu", "--out", str(out)]) == 0
    report = json.loads(capsys.readouterr().out)
    said = caplog.text
    for part in ("32 wide", "the grown set: tuples: ", "too few to trust", "drift.html",
                 "try it: eliq score", "the next refresh: python -m training.refresh"):  # fmt: skip
        assert part in said
    assert report["anchors"]["eras"] == ["era-1", "era-2"]
    drift = json.loads((out / "drift.json").read_text())
    critic = Scorer.from_pretrained(out / "critic", device="cpu", probe=False)
    facts = critic.training["refresh"]
    assert facts["eras"] == ["era-1", "era-2"] and set(facts["own_calibration"]) == set(PLAIN)
    for name, drifted in drift["scores"].items():
        if drifted["link"]:
            assert critic.calibration[name].to_json() == drifted["link"]["calibration"]
    assert main(["images", "--out", str(out)]) == 2
