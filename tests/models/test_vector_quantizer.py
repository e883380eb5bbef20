"""The quantizer against `vector-quantize-pytorch`, NumPy and brute force, and the life of a codebook."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.peers import peer_quantizer
from src.models.vector_quantizer import SemanticVectorQuantizer

BATCH, SLOTS, BLOCKS, CODES, WIDTH = 6, 4, 3, 8, 5
DIM = BLOCKS * WIDTH


def make_quantizer(**changes: object) -> SemanticVectorQuantizer:
    sizes: dict = {
        "num_slots": SLOTS,
        "slot_dim": DIM,
        "num_codebooks": BLOCKS,
        "codebook_size": CODES,
        "code_dim": WIDTH,
    }
    return SemanticVectorQuantizer(**{**sizes, **changes})


def slots_like_data(batch: int = BATCH, **settings: int) -> Tensor:
    return torch.randn(batch, settings.get("slots", SLOTS), settings.get("dim", DIM))


def blocks_of(slots: Tensor, num_codebooks: int = BLOCKS) -> Tensor:
    """(B, N, D) → (M, B·N, D / M)."""
    return slots.unflatten(-1, (num_codebooks, -1)).flatten(0, 1).transpose(0, 1)


def buffers_of(quantizer: SemanticVectorQuantizer) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in quantizer.named_buffers()}


# ---------------------------------------------------------------- references


@pytest.mark.parametrize("decay", [0.99, 0.7])
def test_training_equals_the_vector_quantize_package(decay: float) -> None:
    quantizer = make_quantizer(decay=decay, revive_below=0.0)
    quantizer(slots_like_data())  # fills the codebooks
    reference = peer_quantizer(quantizer)
    for step in range(20):
        slots = (slots_like_data() * (1 + 0.05 * step) + 0.05 * step).requires_grad_()
        weights = torch.randn_like(slots)
        gradients = []
        for module in (quantizer, reference):
            quantized, codes, commitment = module(slots)
            (gradient,) = torch.autograd.grad((quantized * weights).sum() + 3 * commitment.sum(), slots)
            gradients.append((quantized.detach(), codes, commitment.detach().squeeze(), gradient))
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        # Both smooth the counts by Laplace's rule, ε = 1e-5, within each codebook.
        torch.testing.assert_close(quantizer.ema_count, reference._codebook.cluster_size)
        torch.testing.assert_close(quantizer.ema_sum, reference._codebook.embed_avg)
        torch.testing.assert_close(quantizer.codebook, reference._codebook.embed, rtol=1e-4, atol=1e-5)
    quantizer.eval(), reference.eval()
    slots = slots_like_data()
    torch.testing.assert_close(quantizer(slots)[:2], reference(slots)[:2])


def test_moving_averages_equal_numpy() -> None:
    quantizer = make_quantizer(decay=0.9, revive_below=0.0)
    quantizer(slots_like_data())
    book, count, total = (getattr(quantizer, name).double().numpy() for name in ("codebook", "ema_count", "ema_sum"))
    for _ in range(15):
        slots = slots_like_data()
        found = quantizer(slots)
        blocks = blocks_of(slots).double().numpy()
        codes = ((blocks[:, :, None] - book[:, None]) ** 2).sum(-1).argmin(-1)  # (M, B·N)
        assert np.array_equal(found.codes.flatten(0, 1).T.numpy(), codes)
        chosen = np.eye(CODES)[codes]  # (M, B·N, K)
        count = 0.9 * count + 0.1 * chosen.sum(1)
        total = 0.9 * total + 0.1 * np.einsum("mtk,mtc->mkc", chosen, blocks)
        all_blocks = count.sum(1, keepdims=True)
        smoothed = (count + 1e-5) / (all_blocks + CODES * 1e-5) * all_blocks
        book = total / smoothed[..., None]
    np.testing.assert_allclose(quantizer.ema_count.numpy(), count, rtol=1e-4)
    np.testing.assert_allclose(quantizer.codebook.numpy(), book, rtol=1e-4, atol=1e-5)


def test_one_code_tends_to_the_mean_of_the_data() -> None:
    quantizer = make_quantizer(num_codebooks=1, codebook_size=1, code_dim=DIM, decay=0.9)
    slots = slots_like_data(64) + 3
    for _ in range(100):
        quantizer(slots)
    torch.testing.assert_close(quantizer.codebook[0, 0], slots.mean((0, 1)), rtol=1e-3, atol=1e-3)


# ---------------------------------------------------------------- lookup


@given(
    seed=st.integers(0, 2**31),
    num_codebooks=st.integers(1, 4),
    codebook_size=st.integers(1, 9),
    code_dim=st.integers(1, 5),
    slots=st.integers(1, 4),
    scale=st.sampled_from([1e-2, 1.0, 30.0]),
)
@settings(max_examples=60, deadline=None)
def test_no_code_is_nearer_than_the_chosen_one(
    seed: int, num_codebooks: int, codebook_size: int, code_dim: int, slots: int, scale: float
) -> None:
    torch.manual_seed(seed)
    dim = num_codebooks * code_dim
    quantizer = SemanticVectorQuantizer(slots, dim, num_codebooks, codebook_size, code_dim).eval()
    quantizer.codebook.mul_(scale)
    data = scale * torch.randn(3, slots, dim)
    found = quantizer(data)
    assert found.codes.shape == (3, slots, num_codebooks) and found.codes.dtype == torch.int64
    assert found.slots.shape == data.shape
    assert found.codes.min() >= 0 and found.codes.max() < codebook_size
    distances = (
        (blocks_of(data, num_codebooks).unsqueeze(2) - quantizer.codebook.unsqueeze(1)).double().square().sum(-1)
    )
    chosen = distances.gather(2, found.codes.flatten(0, 1).T.unsqueeze(-1)).squeeze(-1)
    assert (chosen <= distances.min(-1).values + 1e-5 * scale**2 * code_dim).all()
    assert found.commitment.item() == pytest.approx(chosen.mean().item() / code_dim, rel=1e-4)
    torch.testing.assert_close(found.slots, quantizer.embed(found.codes), rtol=1e-5, atol=1e-5 * scale)
    again = quantizer(quantizer.embed(found.codes))  # codes are their own nearest codes
    # ... or another is as near as float32 can tell from |c|² / 2 - x·c, some 1e-7 of |c|²
    moved = blocks_of(again.slots - found.slots, num_codebooks).square().sum(-1)
    assert (moved <= 1e-5 * scale**2 * code_dim).all()
    assert again.commitment.item() == pytest.approx(0, abs=1e-6 * scale**2)


@pytest.mark.parametrize("code_dim", [WIDTH, 2])
def test_embedded_codes_are_the_quantized_slots(code_dim: int) -> None:
    quantizer = make_quantizer(code_dim=code_dim)
    quantizer(slots_like_data())
    quantizer.eval()
    found = quantizer(slots_like_data())
    assert quantizer.embed(found.codes).dtype == torch.float32
    torch.testing.assert_close(quantizer.embed(found.codes), found.slots)


def test_slots_share_the_codebooks_and_blocks_do_not() -> None:
    quantizer = make_quantizer().eval()
    codes = torch.zeros(1, SLOTS, BLOCKS, dtype=torch.int64)
    slots = quantizer.embed(codes)
    assert torch.equal(slots, slots[:, :1].expand_as(slots))
    blocks = slots[0, 0].unflatten(-1, (BLOCKS, WIDTH))
    assert torch.equal(blocks, quantizer.codebook[:, 0])
    codes[0, 2, 1] = 7  # one code of one block of one slot
    changed = (quantizer.embed(codes) != slots).unflatten(-1, (BLOCKS, WIDTH)).any(-1)
    assert changed.nonzero().tolist() == [[0, 2, 1]]


# ---------------------------------------------------------------- gradients


def test_gradients_pass_straight_through() -> None:
    quantizer = make_quantizer()
    for mode in (True, False):
        slots = slots_like_data().requires_grad_()
        weights = torch.randn_like(slots)
        (gradient,) = torch.autograd.grad((quantizer.train(mode)(slots).slots * weights).sum(), slots)
        assert torch.equal(gradient, weights)


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_strength_says_how_far_training_moves_slots_to_their_codes(strength: float) -> None:
    quantizer = make_quantizer()
    quantizer(slots_like_data())
    quantizer.strength = strength
    slots = slots_like_data().requires_grad_()
    weights = torch.randn_like(slots)
    codebook = quantizer.codebook.clone()
    found = quantizer(slots)
    codes = found.codes.flatten(0, 1).T.unsqueeze(-1).expand(-1, -1, WIDTH)
    nearest = codebook.gather(1, codes).transpose(0, 1).reshape(slots.shape)  # as they were before the step
    torch.testing.assert_close(found.slots, slots + strength * (nearest - slots))
    torch.testing.assert_close(found.commitment, (slots - nearest).square().mean())  # always in full
    assert torch.equal(torch.autograd.grad((found.slots * weights).sum(), slots)[0], weights)
    quantizer.eval()
    torch.testing.assert_close(quantizer(slots).slots, quantizer.embed(quantizer(slots).codes))


def test_scenes_that_bypass_their_codes_are_chosen_anew_and_only_in_training() -> None:
    quantizer = make_quantizer()
    slots = slots_like_data(400)
    quantizer(slots)
    quantizer.bypass = 0.25
    whole, count = [], quantizer.ema_count.clone()
    for _ in range(2):
        found = quantizer(slots)
        same = (found.slots == slots).flatten(1)
        assert torch.equal(same.all(1), same.any(1))  # scenes pass as a whole
        assert same.any(1).float().mean() == pytest.approx(0.25, abs=0.08)
        whole.append(same.any(1))
    assert not torch.equal(*whole)
    assert not torch.equal(quantizer.ema_count, count)
    quantizer.eval()
    torch.testing.assert_close(quantizer(slots).slots, quantizer.embed(quantizer(slots).codes))


def test_commitment_pulls_slots_to_their_codes() -> None:
    quantizer = make_quantizer(commitment_cost=7.0).eval()
    slots = slots_like_data().requires_grad_()
    found = quantizer(slots)
    (gradient,) = torch.autograd.grad(found.commitment, slots)
    torch.testing.assert_close(gradient, 2 * (slots - quantizer.embed(found.codes)) / slots.numel())  # never × 7
    assert all(not buffer.requires_grad for buffer in quantizer.buffers())


def test_projections_lead_to_the_code_width_and_back() -> None:
    quantizer = make_quantizer(code_dim=2)
    assert quantizer.codebook.shape == (BLOCKS, CODES, 2)
    slots = slots_like_data().requires_grad_()
    found = quantizer(slots)
    assert found.slots.shape == slots.shape and found.codes.shape == (BATCH, SLOTS, BLOCKS)
    (found.slots.square().sum() + found.commitment).backward()
    assert slots.grad.abs().min() > 0
    assert all(parameter.grad.abs().max() > 0 for parameter in quantizer.parameters())
    assert not list(make_quantizer().parameters())  # none where widths agree

    for block in range(BLOCKS):  # a block depends on its own part of the slot alone
        part = make_quantizer(code_dim=2).eval()(slots).slots.unflatten(-1, (BLOCKS, -1))[:, :, block]
        (gradient,) = torch.autograd.grad(part.square().sum(), slots)
        seen = gradient.unflatten(-1, (BLOCKS, -1)).abs().amax((0, 1, 3)) > 0
        assert seen.nonzero().squeeze().tolist() == block


def test_of_equal_codes_the_first_is_chosen() -> None:
    quantizer = make_quantizer().eval()
    quantizer.codebook.copy_(torch.randint(-3, 4, quantizer.codebook.shape))  # whole numbers: no rounding
    quantizer.codebook[:, 5:] = quantizer.codebook[:, 2:3]
    codes = quantizer(slots_like_data(200).round()).codes
    assert codes.unique().tolist() == [0, 1, 2, 3, 4]


# ---------------------------------------------------------------- eval mode, saving


def test_eval_mode_never_changes_a_buffer() -> None:
    fresh, trained = make_quantizer().eval(), make_quantizer()
    for _ in range(3):
        trained(slots_like_data())
    for quantizer in (fresh, trained.eval()):
        before = buffers_of(quantizer)
        first = quantizer(slots_like_data())
        quantizer.embed(first.codes)
        quantizer(100 * slots_like_data(50))
        assert all(torch.equal(buffer, before[name]) for name, buffer in quantizer.named_buffers())


def test_a_restored_quantizer_goes_on_as_the_saved_one() -> None:
    quantizer = make_quantizer(codebook_size=40)  # half filled by the first batch
    quantizer(slots_like_data(5))
    restored = make_quantizer(codebook_size=40)
    restored.load_state_dict(quantizer.state_dict())
    batches = [slots_like_data(5) for _ in range(4)]
    for module in (quantizer, restored):
        torch.manual_seed(3)
        for batch in batches:
            module(batch)
    assert buffers_of(quantizer).keys() == {"codebook", "ema_count", "ema_sum", "num_filled"}
    assert all(torch.equal(buffer, restored.get_buffer(name)) for name, buffer in quantizer.named_buffers())


# ---------------------------------------------------------------- filling and revival


def test_first_batch_fills_the_codebooks_with_its_blocks() -> None:
    quantizer, slots = make_quantizer(), slots_like_data()
    quantizer(slots)
    assert quantizer.num_filled == CODES
    distances = torch.cdist(quantizer.codebook, blocks_of(slots))
    used = torch.stack([slots_used for slots_used in distances.argmin(-1)])
    assert all(len(set(row.tolist())) == CODES for row in used)  # different blocks, once each


def test_small_batches_fill_the_codebooks_bit_by_bit() -> None:
    quantizer = make_quantizer(num_slots=2, codebook_size=10, decay=0.99)
    for filled in (4, 8, 10, 10):  # two scenes of two slots: four blocks a batch
        slots = slots_like_data(2, slots=2) + filled
        found = quantizer(slots)
        assert quantizer.num_filled == filled
        assert found.codes.max() < filled  # a code without data is never chosen
        if filled < 10:  # every block found itself among the codes
            torch.testing.assert_close(found.commitment, torch.tensor(0.0), atol=1e-10, rtol=0)
        assert torch.equal(quantizer.ema_count[:, filled:], torch.zeros(BLOCKS, 10 - filled))
        restored = quantizer.eval()(100 * slots_like_data(20, slots=2))
        assert restored.codes.max() < filled  # in eval mode neither
        quantizer.train()
        assert all(buffer.isfinite().all() for buffer in quantizer.buffers())


def test_an_untrained_codebook_may_be_used_in_full() -> None:
    found = make_quantizer(codebook_size=4).eval()(slots_like_data(200))
    assert len(found.codes.unique()) == 4


def with_dead_codes(revive_below: float) -> tuple[SemanticVectorQuantizer, Tensor]:
    """A filled quantizer in which the codes (0, 2), (0, 5) and (1, 7) are dead: far away and hardly used."""
    quantizer = make_quantizer(revive_below=revive_below, decay=0.99)
    quantizer(slots_like_data(20))
    dead = torch.zeros(BLOCKS, CODES, dtype=torch.bool)
    dead[0, 2] = dead[0, 5] = dead[1, 7] = True
    quantizer.codebook[dead] = 1e3
    quantizer.ema_count[dead] = 0.01
    quantizer.ema_sum[dead] = 10.0
    return quantizer, dead


def test_dead_codes_and_only_those_start_afresh_on_current_blocks() -> None:
    quantizer, dead = with_dead_codes(revive_below=0.05)
    unrevived = copy.deepcopy(quantizer)
    unrevived.revive_below = 0.0
    slots = slots_like_data(20)
    quantizer(slots), unrevived(slots)
    for name in ("codebook", "ema_count", "ema_sum"):  # the living learn as if nothing had happened
        assert torch.equal(getattr(quantizer, name)[~dead], getattr(unrevived, name)[~dead])
    blocks = blocks_of(slots)
    for book, code in dead.nonzero().tolist():
        nearest = (blocks[book] - quantizer.codebook[book, code]).abs().amax(-1).min()
        assert nearest == 0  # it is one of the current blocks
    fair_use = (unrevived.ema_count.sum(-1, keepdim=True) / CODES).expand(-1, CODES)
    torch.testing.assert_close(quantizer.ema_count[dead], fair_use[dead])
    # Sum and count agree, so the next step does not throw the code back to where it was.
    torch.testing.assert_close(quantizer.ema_sum[dead] / fair_use[dead].unsqueeze(-1), quantizer.codebook[dead])
    reborn = quantizer.codebook[dead].clone()
    found = quantizer(slots)
    assert (quantizer.codebook[dead] - reborn).norm(dim=-1).max() < 1
    used = torch.stack([(found.codes[..., book] == code).any() for book, code in dead.nonzero().tolist()])
    assert used.all()


def test_no_code_is_revived_when_told_not_to() -> None:
    quantizer, dead = with_dead_codes(revive_below=0.0)
    quantizer(slots_like_data(20))
    assert (quantizer.codebook[dead] > 100).all()


def test_dead_is_relative_to_fair_use() -> None:
    """With many more codes than blocks in a batch, a code used as often as the others is not dead."""
    quantizer = make_quantizer(codebook_size=60, revive_below=0.05, decay=0.99)
    batches = [slots_like_data(5) for _ in range(3)]  # 20 blocks a batch, a third of the codes
    for batch in batches:
        quantizer(batch)
    codebook = quantizer.codebook.clone()
    for _ in range(10):
        for batch in batches:
            quantizer(batch)
    torch.testing.assert_close(quantizer.codebook, codebook, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("revive_below", [0.05, 0.0])
def test_revival_brings_the_codes_back_when_the_data_jump(revive_below: float) -> None:
    quantizer = make_quantizer(decay=0.9, revive_below=revive_below)
    for step in range(120):
        quantizer(slots_like_data(20) + (100 if step >= 20 else 0))
    codes = quantizer.eval()(slots_like_data(200) + 100).codes
    used = [len(codes[..., book].unique()) for book in range(BLOCKS)]
    assert used == [CODES] * BLOCKS if revive_below else max(used) < CODES


# ---------------------------------------------------------------- fewer codes


def test_a_quantizer_goes_on_with_the_codes_that_are_left() -> None:
    quantizer = make_quantizer()
    for _ in range(20):
        quantizer(slots_like_data())
    whole = copy.deepcopy(quantizer)
    quantizer.merge(3)
    slots = slots_like_data(50)
    found, before = quantizer.eval()(slots), whole.eval()(slots)
    assert set(found.codes.flatten().tolist()) == {0, 1, 2} and before.codes.max() > 2
    assert before.commitment < found.commitment < slots.square().mean()
    torch.testing.assert_close(quantizer.embed(found.codes), found.slots)
    torch.testing.assert_close(quantizer.ema_count.sum(1), whole.ema_count.sum(1))
    torch.testing.assert_close(quantizer.codebook, quantizer.ema_sum / quantizer.ema_count.unsqueeze(-1))
    with pytest.raises(ValueError, match="codes must lie in"):
        quantizer.embed(before.codes)
    smaller = make_quantizer(codebook_size=3)
    smaller.load_state_dict(quantizer.state_dict())
    assert torch.equal(smaller.eval()(slots).codes, found.codes)
    quantizer.train()(slots)  # and it learns
    assert not torch.equal(quantizer.codebook, smaller.codebook)


@pytest.mark.parametrize("filled", [0, 2, 5])
def test_codebooks_that_are_not_full_may_be_merged(filled: int) -> None:
    quantizer = make_quantizer()
    if filled:
        quantizer(torch.randn(1, SLOTS, DIM)[:, :SLOTS])
        quantizer.num_filled.fill_(filled)
    quantizer.merge(3)
    codes = quantizer.eval()(slots_like_data(50)).codes
    assert codes.unique().tolist() == list(range(min(filled or 3, 3)))


@pytest.mark.parametrize("number", [0, CODES + 1, 1.5])
def test_no_such_number_of_codes_can_be_left(number: object) -> None:
    with pytest.raises((TypeError, ValueError), match="codebook_size"):
        make_quantizer().merge(number)


# ---------------------------------------------------------------- precision


def test_float32_under_autocast() -> None:
    quantizer = make_quantizer(code_dim=3)
    quantizer(slots_like_data())
    quantizer.eval()
    slots = slots_like_data().bfloat16()
    expected = quantizer(slots.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = quantizer(slots)
        embedded = quantizer.embed(found.codes)
    assert {found.slots.dtype, found.commitment.dtype, embedded.dtype} == {torch.float32}
    assert torch.equal(found.codes, expected.codes) and torch.equal(found.slots, expected.slots)


# ---------------------------------------------------------------- errors


def test_wrong_slots_and_codes() -> None:
    quantizer = make_quantizer()
    with pytest.raises(ValueError, match=r"slots had shape \(2, 4, 14\) but expected \(B, 4, 15\)"):
        quantizer(torch.randn(2, SLOTS, DIM - 1))
    with pytest.raises(ValueError, match=r"slots had shape \(2, 5, 15\) but expected \(B, 4, 15\)"):
        quantizer(torch.randn(2, SLOTS + 1, DIM))
    with pytest.raises(ValueError, match=r"slots had shape \(4, 15\)"):
        quantizer(torch.randn(SLOTS, DIM))
    codes = torch.zeros(2, SLOTS, BLOCKS, dtype=torch.int64)
    for wrong in (CODES, -1):
        codes[0, 0, 0] = wrong
        with pytest.raises(ValueError, match=rf"codes must lie in \[0, 8\), got .*{wrong}"):
            quantizer.embed(codes)
    with pytest.raises(ValueError, match=r"codes had shape \(2, 3, 4\) but expected \(B, 4, 3\)"):
        quantizer.embed(torch.zeros(2, BLOCKS, SLOTS, dtype=torch.int64))
    with pytest.raises(TypeError, match="codes must be an int64 tensor, got torch.float32"):
        quantizer.embed(torch.zeros(2, SLOTS, BLOCKS))


@pytest.mark.parametrize("name", ["num_slots", "slot_dim", "num_codebooks", "codebook_size", "code_dim"])
@pytest.mark.parametrize("value", [0, -3, 2.0])
def test_sizes_must_be_positive_integers(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got {value}"):
        make_quantizer(**{name: value})


def test_other_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="slot_dim=16.*num_codebooks=3.*slot_dim=15 or 18.*from.*1, 2, 4, 8, 16"):
        make_quantizer(slot_dim=16)
    with pytest.raises(ValueError, match="commitment_cost must be a finite number of at least 0, got -0.1"):
        make_quantizer(commitment_cost=-0.1)
    with pytest.raises(ValueError, match="commitment_cost must be a finite number of at least 0, got nan"):
        make_quantizer(commitment_cost=float("nan"))
    with pytest.raises(ValueError, match=r"^decay must lie in \[0, 1\), got 1.0"):
        make_quantizer(decay=1.0)
    with pytest.raises(ValueError, match=r"^revive_below must lie in \[0, 1\), got -1"):
        make_quantizer(revive_below=-1)


# ---------------------------------------------------------------- several processes


def _learned(batches: Tensor, rank: int, world_size: int) -> dict[str, Tensor]:
    torch.manual_seed(rank)  # even where the draws of the processes differ, the codebooks do not
    quantizer = make_quantizer(codebook_size=50, decay=0.8)
    for batch in batches:
        quantizer(batch[rank::world_size])
    return buffers_of(quantizer)


def _learn_in_one_of_two_processes(rank: int, address: str, batches: Tensor, results: dict[int, dict]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    results[rank] = {name: buffer.tolist() for name, buffer in _learned(batches, rank, 2).items()}
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_learn_the_codebooks_that_one_learns(tmp_path) -> None:
    """Filling (40 blocks a batch, 50 codes), moving averages and revival, from the blocks of both."""
    batches = torch.randn(30, 10, SLOTS, DIM) + torch.arange(30).view(-1, 1, 1, 1) / 10
    with mp.Manager() as manager:
        results = manager.dict()
        address = (tmp_path / "meeting").as_uri()
        mp.spawn(_learn_in_one_of_two_processes, (address, batches, results), nprocs=2)
        first, second = results[0], results[1]
    assert first == second
    for name, buffer in _learned(batches, 0, 1).items():
        torch.testing.assert_close(torch.tensor(first[name]), buffer, rtol=1e-4, atol=1e-5)
