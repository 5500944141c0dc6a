"""When candidates are dropped, and what is said of it afterwards."""

from __future__ import annotations

import logging
import math

import pytest

pytest.importorskip("torch")

from eliq.diffusion.prune_report import Preview, PruneReport  # noqa: E402
from eliq.diffusion.prune_schedule import Cut, PruneSchedule, as_schedule  # noqa: E402
from eliq.errors import ConfigError  # noqa: E402


def test_cuts_by_hand():
    # 28 steps: 7, 12.6 and 19.6, rounded down.
    cuts = PruneSchedule().cuts_of(28, 8)
    assert cuts == [Cut(7, 7 / 28, 4), Cut(12, 12 / 28, 2), Cut(19, 19 / 28, 1)]
    # (8*7 + 4*5 + 2*7 + 9) / (8*28)
    assert PruneSchedule().row_share(28, 8) == pytest.approx(99 / 224)
    assert PruneSchedule().cuts_of(10, 5) == [Cut(2, 0.2, 3), Cut(4, 0.4, 2), Cut(7, 0.7, 1)]
    assert PruneSchedule().cuts_of(28, 2) == [Cut(7, 0.25, 1)]
    assert PruneSchedule().cuts_of(28, 1) == []
    # Two cuts on one step are joined; one on the last step saves nothing.
    assert PruneSchedule().cuts_of(4, 8) == [Cut(1, 0.25, 2), Cut(2, 0.5, 1)]
    assert PruneSchedule(((0.9, 0.5),)).cuts_of(1, 8) == []
    assert PruneSchedule(((1.0, 0.5),)).cuts_of(8, 8) == []


@pytest.mark.parametrize("num_steps", range(4, 101))
def test_eight_candidates_cost_at_most_45_percent(num_steps):
    assert PruneSchedule().row_share(num_steps, 8) <= 0.45 + 1e-12


def test_counts_only_go_down_and_stay_above_zero():
    for num_steps in range(1, 40):
        for num_candidates in range(1, 20):
            cuts = PruneSchedule().cuts_of(num_steps, num_candidates)
            counts = [num_candidates, *(cut.num_keep for cut in cuts)]
            steps = [cut.step for cut in cuts]
            assert counts == sorted(set(counts), reverse=True) and counts[-1] >= 1
            assert steps == sorted(set(steps)) and all(1 <= step < num_steps for step in steps)


@pytest.mark.parametrize(
    "cuts",
    [
        (), 0.5, ((0.5,),), ((0.0, 0.5),), ((0.5, 0.0),), ((1.5, 0.5),), ((0.5, 0.5), (0.5, 0.5)),
        ((0.7, 0.5), (0.2, 0.5)), ((math.nan, 0.5),), ((True, 0.5),), "half",
    ],
)  # fmt: skip
def test_schedules_that_are_refused(cuts):
    with pytest.raises(ConfigError, match="prune"):
        PruneSchedule(cuts)


def test_what_a_user_may_give():
    assert as_schedule(None) is None and as_schedule(False) is None
    assert as_schedule(True) == PruneSchedule()
    mine = PruneSchedule([[0.5, 0.25]], trial=True)
    assert as_schedule(mine) is mine and PruneSchedule(**mine.to_json()) == mine
    assert as_schedule([(0.5, 0.25)]) == PruneSchedule(((0.5, 0.25),))
    for wrong in (3, "half", {"a": 1}):
        with pytest.raises(ConfigError):
            as_schedule(wrong)


def report(scores_of_cuts, *, trial=False, survivors=(0,)):
    """Scores of every cut, by candidate."""
    fractions = (0.25, 0.5)
    previews = tuple(
        tuple(
            Preview(fraction, scores[row], math.nan, scores[row])
            for fraction, scores in zip(fractions, scores_of_cuts, strict=True)
            if row in scores
        )
        for row in range(4)
    )
    pruned_at = tuple(None if row in survivors else 0.5 for row in range(4))
    schedule = PruneSchedule(((0.25, 0.5), (0.5, 0.5)), trial=trial)
    return PruneReport(schedule, "rows", survivors, pruned_at, previews, 40, 80, 1)


def test_ranks_by_hand(caplog):
    looks = ({0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}, {2: 0.9, 3: 0.8})
    found = report(looks, survivors=(2,))
    agreement = found.rank_agreement({2: 0.5})
    first, second = agreement["cuts"]
    assert first["fraction"] == 0.25 and first["next"] == {"num": 2, "srcc": pytest.approx(-1)}
    assert first["final"] == {"num": 1, "srcc": None}
    assert second["next"] == second["final"] == {"num": 1, "srcc": None}
    assert agreement["best_survives"] is None
    facts = found.to_json()
    assert facts["row_share"] == 0.5 and facts["previews"] == 6 and facts["decodes_unpruned"] == 4
    with caplog.at_level(logging.INFO, logger="eliq"):
        found.log({2: 0.5})
    assert "40 of 80 denoiser rows (50 %), 1 of 4 decodes, 6 previews" in caplog.text
    assert "previews at 25 %: -1.00 with the next look of 2" in caplog.text
    assert "previews at 50 %: too few left to compare" in caplog.text


def test_a_trial_knows_whether_the_best_would_have_gone_on():
    look = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}
    found = report((look, look), trial=True, survivors=(3,))
    good = found.rank_agreement({0: 1, 1: 2, 2: 3, 3: 4})
    assert good["best_survives"] is True
    assert good["cuts"][0]["final"] == {"num": 4, "srcc": pytest.approx(1)}
    bad = found.rank_agreement({0: 4, 1: 3, 2: math.nan, 3: 1})
    assert bad["best_survives"] is False
    assert bad["cuts"][0]["final"] == {"num": 3, "srcc": pytest.approx(-1)}
    equal = found.rank_agreement(dict.fromkeys(range(4), 0.5))
    assert equal["cuts"][0]["final"] == {"num": 4, "srcc": None}
