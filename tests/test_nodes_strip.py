"""The strip that ELIQ Score draws."""

from __future__ import annotations

import math

import pytest
import torch

from eliq_nodes.strip import MAX_IMAGES, draw_strip

NAN = math.nan


def images(count: int, height: int = 40, width: int = 30) -> list[torch.Tensor]:
    return [torch.full((3, height, width), 0.5) for _ in range(count)]


def colours(picture) -> set[tuple[int, ...]]:
    return {colour for _, colour in picture.getcolors(1 << 24)}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, MAX_IMAGES])
def test_every_count_is_drawn_near_to_a_square(count):
    strip = draw_strip(images(count, 64, 64), [0.5] * count, [0.5] * count)
    assert strip.mode == "RGB" and 0.5 < strip.width / strip.height < 2.1


def test_images_past_the_most_are_counted_not_drawn():
    full = draw_strip(images(MAX_IMAGES), [0.5] * MAX_IMAGES, [0.5] * MAX_IMAGES)
    more = draw_strip(images(MAX_IMAGES + 5), [0.5] * (MAX_IMAGES + 5), [0.5] * (MAX_IMAGES + 5))
    assert more.width == full.width and full.height < more.height < full.height + 60


def test_without_any_alignment_there_is_no_bar_for_it():
    both = draw_strip(images(1), [0.5], [0.5])
    assert draw_strip(images(1), [0.5], [NAN]).height < both.height


def test_the_best_of_several_is_framed_and_one_alone_is_not():
    gold = (250, 204, 21)
    assert gold in colours(draw_strip(images(2), [0.5, 0.9], [NAN, 0.9]))
    assert gold not in colours(draw_strip(images(1), [0.9], [0.9]))
    assert gold not in colours(draw_strip(images(2), [NAN, NAN], [NAN, NAN]))


def test_a_higher_score_has_a_longer_and_greener_bar():
    def bar(score: float) -> tuple[int, int]:
        strip = draw_strip(images(1), [score], [NAN])
        row = [strip.getpixel((x, strip.height - 39)) for x in range(strip.width)]
        filled = [p for p in row if max(p) - min(p) > 60]
        return len(filled), filled[0][1] - filled[0][0]

    found = [bar(score) for score in (0.1, 0.4, 0.7, 1.0)]
    assert found == sorted(found) and len(set(found)) == 4


def test_mixed_sizes_failed_images_and_odd_pixels():
    mixed = [torch.rand(3, 10, 2000), torch.rand(3, 2000, 10), torch.full((3, 9, 9), NAN)]
    draw_strip(mixed, [0.0, 1.0, NAN], [1.0, 0.0, NAN], [None, None, "it has NaN"])


def test_scores_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="as many scores as images"):
        draw_strip(images(2), [0.5], [0.5])
    with pytest.raises(ValueError, match="at least one"):
        draw_strip([], [], [])
