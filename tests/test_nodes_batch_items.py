"""Items taken from batches: images, masks and latents stay with one another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eliq_nodes.batch_items import take_images, take_latents, take_masks


class Nested:
    """As ComfyUI's container: several tensors of one batch behind an object."""

    is_nested = True

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = list(tensors)

    def unbind(self) -> list[Tensor]:
        return self.tensors

    @property
    def shape(self) -> torch.Size:
        return self.tensors[0].shape


def numbered(num_items: int, *sides: int) -> Tensor:
    """A batch of which item i is filled with i."""
    return (
        torch.arange(num_items, dtype=torch.float32)
        .view(-1, *[1] * len(sides))
        .expand(num_items, *sides)
    )


def numbers(batch: Tensor) -> list[int]:
    return [int(item.flatten()[0]) for item in batch]


def test_images_in_the_order_asked_for():
    taken = take_images(numbered(4, 6, 5, 3), [3, 1], num_items=4)
    assert numbers(taken) == [3, 1]
    assert taken.shape == (2, 6, 5, 3)


def test_images_with_transparency_and_none_taken():
    assert take_images(numbered(2, 6, 5, 4), [], num_items=2).shape == (0, 6, 5, 4)


@pytest.mark.parametrize("shape", [(3, 6, 5, 3), (6, 5, 3)])
def test_images_of_another_number_are_refused(shape):
    with pytest.raises(ValueError, match="expected a batch of 4.*found shape"):
        take_images(torch.zeros(shape), [0], num_items=4)


def test_masks_go_with_their_images_and_one_serves_all():
    assert numbers(take_masks(numbered(4, 6, 5), [2, 0], num_items=4)) == [2, 0]
    assert take_masks(torch.ones(1, 6, 5), [2, 0, 1], num_items=4).shape == (3, 6, 5)
    assert take_masks(torch.ones(6, 5), [2, 0], num_items=4).shape == (2, 6, 5)
    with pytest.raises(ValueError, match="expected 1 or 4"):
        take_masks(torch.ones(3, 6, 5), [0], num_items=4)


@pytest.mark.parametrize("sides", [(4, 8, 8), (16, 1, 8, 8), (64, 12)])
def test_latents_of_any_rank(sides):
    latent = {"samples": numbered(3, *sides)}
    taken = take_latents(latent, [2, 0], num_items=3)
    assert numbers(taken["samples"]) == [2, 0]
    assert taken["samples"].shape == (2, *sides)
    assert taken["batch_index"] == [2, 0]
    assert set(latent) == {"samples"}, "the link's own dict is not changed"


def test_batch_index_of_an_earlier_pick_is_kept():
    latent = {"samples": numbered(3, 4, 8, 8), "batch_index": [7, 5, 1]}
    assert take_latents(latent, [2, 0], num_items=3)["batch_index"] == [1, 7]


def test_picking_twice_is_picking_once():
    latent = {"samples": numbered(5, 4, 2, 2)}
    twice = take_latents(take_latents(latent, [4, 2, 0], num_items=5), [1, 0], num_items=3)
    assert twice["batch_index"] == numbers(twice["samples"]) == [2, 4]


@pytest.mark.parametrize(
    ("num_masks", "expected"), [(4, [3, 1]), (1, [0, 0]), (2, [1, 1]), (3, [0, 1])]
)
def test_noise_masks_repeat_as_the_sampler_repeats_them(num_masks, expected):
    latent = {"samples": numbered(4, 4, 8, 8), "noise_mask": numbered(num_masks, 1, 64, 64)}
    taken = take_latents(latent, [3, 1], num_items=4)
    assert numbers(taken["noise_mask"]) == expected


def test_masks_of_frames_stay_with_a_video():
    """[T,1,h,w] masks beside [B,C,T,h,w] are read as frames, the same for every item."""
    latent = {"samples": numbered(2, 16, 3, 8, 8), "noise_mask": numbered(3, 1, 64, 64)}
    assert take_latents(latent, [1], num_items=2)["noise_mask"] is latent["noise_mask"]
    latent["noise_mask"] = numbered(2, 1, 3, 64, 64)
    assert numbers(take_latents(latent, [1], num_items=2)["noise_mask"]) == [1]


def test_nested_latents_and_masks():
    latent = {
        "samples": Nested([numbered(3, 16, 2, 8, 8), numbered(3, 8, 20)]),
        "noise_mask": Nested([numbered(3, 1, 2, 8, 8), numbered(1, 1, 20)]),
    }
    taken = take_latents(latent, [2, 1], num_items=3)
    assert isinstance(taken["samples"], Nested)
    assert [numbers(part) for part in taken["samples"].unbind()] == [[2, 1], [2, 1]]
    assert [numbers(part) for part in taken["noise_mask"].unbind()] == [[2, 1], [0, 0]]


def test_what_belongs_to_the_batch_is_kept_and_what_belongs_to_items_is_taken():
    latent = {
        "samples": numbered(2, 4, 8, 8),
        "type": "audio",
        "scale": torch.tensor(8.0),
        "size": [512, 768],
        "reference": numbered(2, 9),
        "grid": torch.zeros(5, 5),
    }
    taken = take_latents(latent, [1], num_items=2)
    assert numbers(taken["reference"]) == [1]
    for name in ("type", "scale", "size", "grid"):
        assert taken[name] is latent[name]


def test_latents_of_another_number_are_refused():
    with pytest.raises(ValueError, match="expected 4 items.*found 1.*frames of one video"):
        take_latents({"samples": torch.zeros(1, 16, 4, 8, 8)}, [0], num_items=4)
