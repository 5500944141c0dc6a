"""What training computes in on this CPU, and Muon in float32 beside torch's own in bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eliq.errors import ConfigError
from training import muon, precision
from training.muon import Muon

needs_muon = pytest.mark.skipif(
    not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on"
)
SHAPES = [(48, 16), (16, 48), (32, 32), (48, 16)]


@pytest.fixture
def cpu(monkeypatch):
    """Sets whether the CPU has units for bfloat16."""

    def set_units(has_them: bool) -> None:
        monkeypatch.setattr(precision, "has_bfloat16_units", lambda: has_them)
        monkeypatch.setattr(muon, "has_bfloat16_units", lambda: has_them)

    return set_units


def parameters(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    found = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    for parameter in found:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return found


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bf16": True, "l1d_cache_size": 49152}, True),
        ({"amx_bf16": True}, True),
        ({}, False),
    ],
)
def test_units_are_what_torch_says_of_the_cpu(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision.has_bfloat16_units.__wrapped__() is expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"_is_avx512_bf16_supported": False, "_is_amx_tile_supported": True}, True),
        ({"_is_avx512_bf16_supported": False, "_is_amx_tile_supported": False}, False),
        ({"_is_amx_tile_supported": False}, False),
        ({}, True),  # nothing is known: as it was
    ],
)
def test_an_older_torch_is_asked_in_its_own_way(monkeypatch, names, expected):
    known = ("get_capabilities", "_is_avx512_bf16_supported", "_is_amx_tile_supported")
    for name in known:
        monkeypatch.delattr(torch.cpu, name, raising=False)
    for name, value in names.items():
        monkeypatch.setattr(torch.cpu, name, lambda value=value: value, raising=False)
    assert precision.has_bfloat16_units.__wrapped__() is expected


@pytest.mark.parametrize(("has_them", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_products_are_bfloat16_only_where_the_cpu_has_units(cpu, has_them, dtype):
    cpu(has_them)
    a = torch.ones(2, 2)
    with precision.bf16_autocast():
        assert (a @ a).dtype == dtype
    with precision.bf16_autocast(enabled=False):
        assert (a @ a).dtype == torch.float32


@needs_muon
@pytest.mark.parametrize("most_elements", [1, 1 << 22])  # one at a time, and all of a shape
def test_float32_steps_are_those_of_torch_but_for_rounding(cpu, monkeypatch, most_elements):
    monkeypatch.setattr(muon, "_MOST_ELEMENTS", most_elements)
    ours, its = parameters(), parameters()
    settings = {"lr": 0.1, "weight_decay": 0.05, "adjust_lr_fn": "match_rms_adamw"}
    reference = torch.optim.Muon(its, **settings)
    cpu(False)
    optimizer = Muon(ours, learning_rate=0.1, weight_decay=0.05)
    before = [p.detach().clone() for p in ours]
    for number in range(3):
        for left, right, new in zip(ours, its, parameters(number + 1), strict=True):
            left.grad, right.grad = new.grad.clone(), new.grad.clone()
        optimizer.step()
        reference.step()
    for start, left, right in zip(before, ours, its, strict=True):
        moved = right - start
        assert moved.norm() > 0.5
        assert (left - right).norm() < 0.02 * moved.norm()  # bfloat16 has 8 bits
    states = [optimizer.state_dict()["state"], reference.state_dict()["state"]]
    for index in range(len(SHAPES)):
        momenta = [state[index]["momentum_buffer"] for state in states]
        assert torch.equal(*momenta)  # either goes on with the other's


@needs_muon
def test_a_step_is_orthogonal_and_what_has_no_gradient_stays(cpu):
    cpu(False)
    moving, still = parameters()[:2]
    start, stays = moving.detach().clone(), still.detach().clone()
    still.grad = None
    optimizer = Muon([moving, still], learning_rate=0.5, weight_decay=0.0)
    assert optimizer.step(lambda: torch.tensor(7.0)) == 7.0
    step = (start - moving.detach()) / (0.5 * 0.2 * 48**0.5)
    values = torch.linalg.svdvals(step)
    assert values.min() > 0.6 and values.max() < 1.3  # the quintic's band around 1
    assert torch.equal(still, stays) and len(optimizer.state) == 1


@needs_muon
def test_steps_that_are_scaled_otherwise_are_torchs(cpu):
    cpu(False)
    ours, its = parameters(), parameters()
    reference = torch.optim.Muon(its, lr=0.1, weight_decay=0.05)
    optimizer = Muon(ours, learning_rate=1.0, weight_decay=0.0)
    optimizer.load_state_dict(reference.state_dict())
    optimizer.step()
    reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, its, strict=True))


@needs_muon
def test_on_a_cpu_with_units_torch_steps(cpu):
    cpu(True)
    ours, its = parameters(), parameters()
    Muon(ours, learning_rate=0.1, weight_decay=0.05).step()
    torch.optim.Muon(its, lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw").step()
    assert all(torch.equal(a, b) for a, b in zip(ours, its, strict=True))


def test_an_older_torch_is_named(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(ConfigError, match=r"torch 2\.9 or later"):
        Muon(parameters(), learning_rate=0.1, weight_decay=0.0)
