"""Slot attention against two references, and the properties it is built for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.peers import peer_slot_attention
from src.models.position import coordinate_grid, fourier_features
from src.models.slot_attention import SlotAttention, SlotAttentionEncoder, _Scores, claimed_by_larger
from src.models.vector_quantizer import SemanticVectorQuantizer

BATCH, LENGTH, SLOTS, DIM = 3, 11, 4, 8


def make_attention(**changes: object) -> SlotAttention:
    sizes: dict = {
        "num_slots": SLOTS,
        "slot_dim": DIM,
        "input_dim": DIM,
        "hidden_dim": 16,
        "slot_init": "random",
    }
    attention = SlotAttention(**{**sizes, **changes})
    with torch.no_grad():  # not the ones and zeros they start as
        for name, parameter in attention.named_parameters():
            if "norm" in name or "initial_" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return attention


# What Locatello et al. (2020) publish: no salience, no inhibition, and the gradient through all iterations.
PUBLISHED = {"salience": False, "inhibition": 0.0, "implicit": False}


def make_quantizer(num_codebooks: int = 2) -> SemanticVectorQuantizer:
    return SemanticVectorQuantizer(SLOTS, DIM, num_codebooks, 6, DIM // num_codebooks).eval()


# ---------------------------------------------------------------- references


@pytest.mark.parametrize("num_iterations", [1, 3])
def test_equals_the_slot_attention_package(num_iterations: int) -> None:
    attention = make_attention(num_iterations=num_iterations, **PUBLISHED)
    reference = peer_slot_attention(attention)
    inputs, weights = torch.randn(BATCH, LENGTH, DIM), torch.randn(BATCH, SLOTS, DIM)
    torch.manual_seed(5)
    slots = attention(inputs).slots
    torch.manual_seed(5)
    expected = reference(inputs)
    torch.testing.assert_close(slots, expected, rtol=1e-5, atol=1e-5)

    # The gradient goes through all iterations, as in the reference.
    (slots * weights).sum().backward()
    (expected * weights).sum().backward()
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(attention.to_query.weight.grad, reference.to_q.weight.grad, **close)
    torch.testing.assert_close(attention.to_key.weight.grad, reference.to_k.weight.grad, **close)
    torch.testing.assert_close(attention.to_value.weight.grad, reference.to_v.weight.grad, **close)
    torch.testing.assert_close(attention.gru.from_state.weight.grad[0].T, reference.gru.weight_hh.grad, **close)
    torch.testing.assert_close(attention.mlp.out.weight.grad[0].T, reference.mlp[2].weight.grad, **close)
    torch.testing.assert_close(attention.initial_mean.grad, reference.slots_mu.grad[0, 0], **close)
    torch.testing.assert_close(attention.initial_log_std.grad, reference.slots_logsigma.grad[0, 0], **close)


def numpy_slot_attention(attention: SlotAttention, inputs: Tensor, slots: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 1 of Locatello et al. (2020), in float64, looping over scenes, slots and blocks; with salience and
    inhibition, if any."""
    weights = {name: value.detach().double().numpy() for name, value in attention.named_parameters()}

    def layer_norm(x: np.ndarray, name: str | None = None) -> np.ndarray:
        normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return normed if name is None else normed * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    def block_linear(x: np.ndarray, name: str, block: int) -> np.ndarray:
        return x @ weights[f"{name}.weight"][block] + weights[f"{name}.bias"][block]

    results, maps = [], []
    for scene, state in zip(inputs.double().numpy(), slots.detach().double().numpy(), strict=True):
        features = layer_norm(scene, "norm_inputs")
        keys, values = features @ weights["to_key.weight"].T, features @ weights["to_value.weight"].T
        for _ in range(attention.num_iterations):
            queries = layer_norm(state, "norm_slots") @ weights["to_query.weight"].T
            logits = queries @ keys.T / math.sqrt(attention.slot_dim)
            attended = np.exp(logits) / np.exp(logits).sum(axis=0, keepdims=True)  # over slots
            salience = np.ones((len(features), 1))
            if attention.to_salience is not None:
                salience = sigmoid(features @ weights["to_salience.weight"].T + weights["to_salience.bias"])
            mass, claimed = (attended @ salience)[:, 0], np.zeros((len(state), 1))
            for slot in range(len(state)):
                for other in range(len(state)):
                    if mass[other] > mass[slot]:
                        share = (attended[slot] * attended[other]) @ salience / mass[slot]
                        claimed[slot] += np.maximum(share - 1 / len(state), 0)
            logits = logits - attention.inhibition * claimed
            attended = np.exp(logits) / np.exp(logits).sum(axis=0, keepdims=True)
            if attention.to_salience is None:
                owned = (attended + 1e-8) / (attended + 1e-8).sum(axis=1, keepdims=True)
            else:
                owned = attended * salience.T / ((attended * salience.T).sum(axis=1, keepdims=True) + 1)
            updates = owned @ values
            parts = []
            for block in range(attention.num_blocks):
                here = slice(*(attention.slot_dim // attention.num_blocks * edge for edge in (block, block + 1)))
                from_input = np.split(block_linear(updates[:, here], "gru.from_input", block), 3, axis=-1)
                from_state = np.split(block_linear(state[:, here], "gru.from_state", block), 3, axis=-1)
                reset, keep = (sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
                part = (1 - keep) * np.tanh(from_input[2] + reset * from_state[2]) + keep * state[:, here]
                hidden = np.maximum(block_linear(layer_norm(part), "mlp.hidden", block), 0)
                parts.append(part + block_linear(hidden, "mlp.out", block))
            state = np.concatenate(parts, axis=-1)
        results.append(state)
        maps.append(attended)
    return np.stack(results), np.stack(maps)


@pytest.mark.parametrize(("salience", "inhibition"), [(False, 0), (True, 0), (False, 2), (True, 3)])
@pytest.mark.parametrize("slot_init", ["random", "learned"])
@pytest.mark.parametrize("num_blocks", [1, 4])
def test_equals_algorithm_1_in_float64(num_blocks: int, slot_init: str, salience: bool, inhibition: float) -> None:
    changes = {"num_blocks": num_blocks, "slot_init": slot_init, "salience": salience, "inhibition": inhibition}
    attention = make_attention(**changes, input_dim=5)
    inputs = torch.randn(BATCH, LENGTH, 5)
    if slot_init == "random":
        noise = torch.randn(BATCH, SLOTS, DIM)
        initial = attention.initial_mean + attention.initial_log_std.exp() * noise
    else:
        noise, initial = None, attention.initial_slots.expand(BATCH, -1, -1)
    found = attention(inputs, noise=noise)
    slots, attended = numpy_slot_attention(attention, inputs, initial)
    np.testing.assert_allclose(found.slots.detach().numpy(), slots, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.attention.detach().numpy(), attended, rtol=1e-4, atol=1e-5)


def test_scores_have_the_gradients_of_a_product_twice() -> None:
    queries = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.equal(_Scores.apply(queries, inputs), queries @ inputs.mT)
    assert torch.autograd.gradcheck(_Scores.apply, (queries, inputs))
    assert torch.autograd.gradgradcheck(_Scores.apply, (queries, inputs))


# ---------------------------------------------------------------- competition and symmetries


def test_attention_is_shared_out_among_the_slots() -> None:
    found = make_attention()(10 * torch.randn(BATCH, LENGTH, DIM))
    assert found.attention.shape == (BATCH, SLOTS, LENGTH)
    assert found.attention.dtype == torch.float32
    assert found.attention.min() >= 0 and found.attention.max() <= 1
    torch.testing.assert_close(found.attention.sum(dim=1), torch.ones(BATCH, LENGTH))
    assert (found.attention.sum(dim=2) - 1).abs().max() > 0.1  # over slots, not over inputs
    assert found.codes is None and found.commitment == 0
    assert torch.equal(found.quantized, found.slots)


@pytest.mark.parametrize("salience", [False, True])
def test_slots_that_attend_nowhere_stay_finite(salience: bool) -> None:
    attention = make_attention(slot_init="learned", num_iterations=1, salience=salience)
    with torch.no_grad():
        attention.to_query.weight.mul_(1e4)  # the winner takes everything, exactly
    inputs = torch.randn(BATCH, 1, DIM)  # one input: only one slot can have it
    found = attention(inputs)
    assert (found.attention == 0).any()
    found.slots.sum().backward()
    assert found.slots.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in attention.parameters())


@pytest.mark.parametrize("slot_init", ["random", "learned"])
def test_untrained_slots_attend_to_different_inputs(slot_init: str) -> None:
    """Slots that all start by attending to everything become alike, and training may never part them."""
    attention = SlotAttention(5, 64, 64, slot_init=slot_init, inhibition=0.0)
    with torch.no_grad():
        found = attention(torch.randn(16, 64, 64))
    most = found.attention.amax(dim=1)
    assert most.mean() > 0.6  # 0.2 would be all alike
    assert torch.cdist(found.slots, found.slots).mean() > 0.5


def test_the_larger_of_two_slots_that_hold_the_same_inputs_wins_them() -> None:
    """Slots alike stay alike in the published attention; a slot that holds other inputs is left alone by inhibition."""
    start = torch.tensor([[[2.0, 0, 0, 0], [1.8, 0, 0, 0], [0, 0, 2.0, 0]]])
    inputs = torch.eye(4)[[0, 0, 0, 0, 2, 2]].unsqueeze(0)

    def owned(inhibition: float) -> Tensor:
        attention = SlotAttention(3, 4, 4, num_iterations=1, salience=False, inhibition=inhibition)
        attention.norm_slots = attention.norm_inputs = torch.nn.Identity()
        for layer in (attention.to_query, attention.to_key):
            torch.nn.init.eye_(layer.weight)
            layer.weight.data *= 3
        with torch.no_grad():
            attention.initial_mean.zero_()
            return attention(inputs, noise=start).attention[0].sum(-1)

    free, inhibited = owned(0.0), owned(3.0)
    assert free[0] / free[1] < 2.5 and inhibited[0] / inhibited[1] > 5
    assert inhibited[2] >= free[2] - 0.1 and inhibited[2] > 1.9


def test_shares_claimed_by_larger_slots_in_a_case_done_by_hand() -> None:
    attention = torch.tensor([[[0.4, 0.0], [0.6, 0.0], [0.0, 1.0]]])
    salience = torch.tensor([[[1.0, 0.5]]])
    # They own 0.4, 0.6 and 0.5. The second claims 0.4 · 0.6 of what the first owns, and nothing of the third's.
    expected = torch.tensor([[[0.6 - 1 / 3], [0.0], [0.0]]])
    torch.testing.assert_close(claimed_by_larger(attention, salience), expected)
    assert claimed_by_larger(torch.full((1, 4, 3), 0.25), 1).max() == 0  # slots alike inhibit nobody


def test_inputs_without_salience_are_as_if_they_were_not_there() -> None:
    attention = make_attention(num_blocks=2)
    with torch.no_grad():
        attention.to_salience.weight.copy_(100 * torch.eye(DIM)[:1])  # the first entry decides, and clearly
    inputs, noise = torch.randn(BATCH, LENGTH, DIM), torch.randn(BATCH, SLOTS, DIM)
    inputs[:, :6, 0], inputs[:, 6:, 0] = 5, -5
    with_all, with_salient = attention(inputs, noise=noise), attention(inputs[:, :6], noise=noise)
    torch.testing.assert_close(with_all.slots, with_salient.slots)
    torch.testing.assert_close(with_all.attention[..., :6], with_salient.attention)


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_permuting_the_noise_permutes_the_slots(num_blocks: int) -> None:
    attention = make_attention(num_blocks=num_blocks)
    inputs, noise = torch.randn(BATCH, LENGTH, DIM), torch.randn(BATCH, SLOTS, DIM)
    order = torch.tensor([2, 0, 3, 1])
    found, permuted = attention(inputs, noise=noise), attention(inputs, noise=noise[:, order])
    torch.testing.assert_close(permuted.slots, found.slots[:, order])
    torch.testing.assert_close(permuted.attention, found.attention[:, order])


def test_permuting_the_inputs_changes_nothing_but_the_attention() -> None:
    attention = make_attention(num_blocks=2, slot_init="learned")
    inputs, order = torch.randn(BATCH, LENGTH, DIM), torch.randperm(LENGTH)
    found, permuted = attention(inputs), attention(inputs[:, order])
    torch.testing.assert_close(permuted.slots, found.slots)
    torch.testing.assert_close(permuted.attention, found.attention[:, :, order])


# ---------------------------------------------------------------- initial slots and gradients


@pytest.mark.parametrize("slot_init", ["random", "learned"])
def test_the_implicit_gradient_is_that_of_the_last_iteration(slot_init: str) -> None:
    settings: dict = {"slot_init": slot_init, "num_blocks": 2, "implicit": True}
    attention = make_attention(**settings, num_iterations=3)
    inputs, weights = torch.randn(BATCH, LENGTH, DIM), torch.randn(BATCH, SLOTS, DIM)
    noise = torch.randn(BATCH, SLOTS, DIM) if slot_init == "random" else None
    slots = attention(inputs, noise=noise).slots
    (slots * weights).sum().backward()

    # The same by hand: two iterations to get there, then one from slots that are leaves.
    state = {name: value.detach().clone() for name, value in attention.state_dict().items()}
    first_two = make_attention(**settings, num_iterations=2)
    first_two.load_state_dict(state)
    last = make_attention(**{**settings, "slot_init": "random"}, num_iterations=1)
    last.load_state_dict(state, strict=False)
    with torch.no_grad():
        last.initial_mean.zero_()
        last.initial_log_std.zero_()
    entering = first_two(inputs, noise=noise).slots.detach().requires_grad_()
    expected = last(inputs, noise=entering).slots
    (expected * weights).sum().backward()

    torch.testing.assert_close(slots, expected)
    close = {"rtol": 1e-4, "atol": 1e-5}
    for name, parameter in last.named_parameters():
        if not name.startswith("initial_"):
            torch.testing.assert_close(attention.get_parameter(name).grad, parameter.grad, **close, msg=name)
    # The initial slots take the gradient straight from where the last iteration begins.
    if noise is None:
        torch.testing.assert_close(attention.initial_slots.grad, entering.grad.sum(0), **close)
    else:
        torch.testing.assert_close(attention.initial_mean.grad, entering.grad.sum((0, 1)), **close)
        through_std = (entering.grad * noise).sum((0, 1)) * attention.initial_log_std.detach().exp()
        torch.testing.assert_close(attention.initial_log_std.grad, through_std, **close)


@pytest.mark.parametrize("slot_init", ["random", "learned"])
def test_the_implicit_gradient_changes_no_value(slot_init: str) -> None:
    implicit = make_attention(slot_init=slot_init, implicit=True)
    explicit = make_attention(slot_init=slot_init, implicit=False)
    explicit.load_state_dict(implicit.state_dict())
    inputs = torch.randn(BATCH, LENGTH, DIM)
    noise = torch.randn(BATCH, SLOTS, DIM) if slot_init == "random" else None
    gradients = []
    for attention in (implicit, explicit):
        found = attention(inputs, noise=noise)
        found.slots.square().sum().backward()
        gradients.append((found.slots.detach(), attention.to_query.weight.grad))
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert not torch.allclose(gradients[0][1], gradients[1][1], rtol=1e-2)


def test_sampled_slots_differ_in_training_and_obey_the_seed() -> None:
    attention, inputs = make_attention(), torch.randn(1, LENGTH, DIM).expand(2, -1, -1)
    torch.manual_seed(1)
    first = attention(inputs).slots
    second = attention(inputs).slots
    torch.manual_seed(1)
    assert torch.equal(attention(inputs).slots, first)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first[0], first[1])  # scenes of a batch draw their own


@pytest.mark.parametrize("num_iterations", [1, 3])
@pytest.mark.parametrize("slot_init", ["random", "learned"])
def test_eval_mode_is_deterministic_and_the_batch_does_not_matter(slot_init: str, num_iterations: int) -> None:
    attention = make_attention(slot_init=slot_init, num_iterations=num_iterations, num_blocks=2).eval()
    inputs = torch.randn(BATCH, LENGTH, DIM)
    found = attention(inputs).slots
    assert found.shape == (BATCH, SLOTS, DIM)
    state = torch.get_rng_state()
    assert torch.equal(attention(inputs).slots, found)
    assert torch.equal(torch.get_rng_state(), state)
    for scene in range(BATCH):
        torch.testing.assert_close(attention(inputs[scene : scene + 1]).slots[0], found[scene])
    restored = make_attention(slot_init=slot_init, num_iterations=num_iterations, num_blocks=2).eval()
    restored.load_state_dict(attention.state_dict())
    assert torch.equal(restored(inputs).slots, found)  # the samples of eval mode are saved
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-3  # and differ from slot to slot


# ---------------------------------------------------------------- quantization inside the loop


@pytest.mark.parametrize("slot_init", ["random", "learned"])
def test_quantizing_last_leaves_the_iterations_alone(slot_init: str) -> None:
    attention, quantizer = make_attention(num_blocks=2, slot_init=slot_init), make_quantizer()
    inputs = torch.randn(BATCH, LENGTH, DIM)
    noise = torch.randn(BATCH, SLOTS, DIM) if slot_init == "random" else None
    plain, found = attention(inputs, noise=noise), attention(inputs, quantizer, noise)
    expected = quantizer(plain.slots)
    torch.testing.assert_close(found.slots, plain.slots)
    torch.testing.assert_close(found.attention, plain.attention)
    assert torch.equal(found.codes, expected.codes)
    torch.testing.assert_close(found.quantized, expected.slots)
    torch.testing.assert_close(found.commitment, expected.commitment)


def test_quantizing_every_iteration_feeds_quantized_slots_to_the_next() -> None:
    attention = make_attention(num_blocks=2, num_iterations=3, quantize_at="every")
    quantizer, inputs = make_quantizer(), torch.randn(BATCH, LENGTH, DIM)
    noise = torch.randn(BATCH, SLOTS, DIM)
    found = attention(inputs, quantizer, noise)

    once = make_attention(num_blocks=2, num_iterations=1)
    once.load_state_dict(attention.state_dict())
    slots = attention.initial_mean + attention.initial_log_std.exp() * noise
    with torch.no_grad():
        once.initial_mean.zero_()
        once.initial_log_std.zero_()
    for _ in range(3):
        step = once(inputs, quantizer, slots)
        slots = step.quantized
    torch.testing.assert_close(found.slots, step.slots)
    torch.testing.assert_close(found.quantized, slots)
    assert torch.equal(found.codes, step.codes)
    torch.testing.assert_close(found.commitment, step.commitment)  # of the last iteration only


@pytest.mark.parametrize(("quantize_at", "calls"), [("last", 1), ("every", 3)])
@pytest.mark.parametrize("slot_init", ["random", "learned"])
def test_how_often_the_quantizer_acts(quantize_at: str, calls: int, slot_init: str) -> None:
    attention = make_attention(num_iterations=3, num_blocks=2, quantize_at=quantize_at, slot_init=slot_init)
    quantizer, seen = make_quantizer(), []
    quantizer.register_forward_hook(lambda *_: seen.append(1))
    attention(torch.randn(BATCH, LENGTH, DIM), quantizer)
    assert len(seen) == calls


@pytest.mark.parametrize("quantize_at", ["last", "every"])
@pytest.mark.parametrize("slot_init", ["random", "learned"])
def test_gradients_pass_the_quantizer_to_every_parameter(quantize_at: str, slot_init: str) -> None:
    attention = make_attention(num_blocks=2, quantize_at=quantize_at, slot_init=slot_init)
    found = attention(torch.randn(BATCH, LENGTH, DIM), make_quantizer())
    (found.quantized * torch.randn(BATCH, SLOTS, DIM)).sum().backward()
    for name, parameter in attention.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


# ---------------------------------------------------------------- errors


def test_noise_must_fit() -> None:
    inputs = torch.randn(BATCH, LENGTH, DIM)
    with pytest.raises(ValueError, match=r"noise had shape \(3, 4, 7\) but expected \(3, 4, 8\)"):
        make_attention()(inputs, noise=torch.randn(BATCH, SLOTS, DIM - 1))
    with pytest.raises(ValueError, match="learned initial slots take no noise.*slot_init='random'"):
        make_attention(slot_init="learned")(inputs, noise=torch.randn(BATCH, SLOTS, DIM))


@pytest.mark.parametrize("name", ["num_slots", "slot_dim", "input_dim", "num_iterations", "num_blocks", "hidden_dim"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_sizes_must_be_positive_integers(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got {value}"):
        make_attention(**{name: value})


def test_choices_and_divisibility() -> None:
    with pytest.raises(ValueError, match="slot_dim=8.*num_blocks=3.*slot_dim=6 or 9.*num_blocks from.*1, 2, 4, 8"):
        make_attention(num_blocks=3)
    with pytest.raises(ValueError, match="unknown slot_init 'zero': choose one of random, learned"):
        make_attention(slot_init="zero")
    with pytest.raises(ValueError, match="unknown quantize_at 'first': choose one of last, every"):
        make_attention(quantize_at="first")


# ---------------------------------------------------------------- encoder


@pytest.mark.parametrize("size", [8, 20])
def test_encoder_has_a_quarter_of_the_side(size: int) -> None:
    encoder = SlotAttentionEncoder(size, 3, 2, in_channels=1, slot_size=6, hidden_dim=4, num_blocks=2)
    found = encoder(torch.rand(2, 1, size, size))
    assert found.slots.shape == (2, 3, 6)
    assert found.attention.shape == (2, 3, (size // 4) ** 2)
    assert found.codes is None


def test_encoder_knows_where_things_are() -> None:
    encoder = SlotAttentionEncoder(32, 3, 1, slot_size=8, hidden_dim=8).eval()
    image = torch.zeros(1, 3, 32, 32)
    image[..., 4:10, 4:10] = 1
    moved = image.roll((14, 14), dims=(2, 3))
    assert not torch.allclose(encoder(image).slots, encoder(moved).slots, atol=1e-4)


def test_encoder_does_not_mind_the_memory_layout() -> None:
    encoder = SlotAttentionEncoder(16, 3, 2, slot_size=8, hidden_dim=8).eval()
    image = torch.rand(2, 3, 16, 16)
    layouts = (
        image.contiguous(memory_format=torch.channels_last),
        image.flip(3).flip(3),
        image.mT.contiguous().mT,
    )
    for layout in layouts:
        torch.testing.assert_close(encoder(layout).slots, encoder(image).slots)


def test_slots_are_float32_under_autocast() -> None:
    encoder = SlotAttentionEncoder(16, SLOTS, 2, slot_size=DIM, hidden_dim=8, num_blocks=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = encoder(torch.rand(2, 3, 16, 16), make_quantizer())
    assert {found.slots.dtype, found.quantized.dtype, found.attention.dtype} == {torch.float32}
    assert found.commitment.dtype == torch.float32 and found.codes.dtype == torch.int64


def test_encoder_refuses_what_it_cannot_read() -> None:
    encoder = SlotAttentionEncoder(16, 2, 1, slot_size=8, hidden_dim=8)
    with pytest.raises(ValueError, match=r"image had shape \(1, 3, 20, 20\) but expected \(B, 3, 16, 16\).*image_size"):
        encoder(torch.rand(1, 3, 20, 20))
    with pytest.raises(ValueError, match=r"image had shape \(1, 1, 16, 16\) but expected \(B, 3, 16, 16\)"):
        encoder(torch.rand(1, 1, 16, 16))
    with pytest.raises(ValueError, match=r"image had shape \(3, 16, 16\)"):
        encoder(torch.rand(3, 16, 16))
    with pytest.raises(ValueError, match=r"image values must lie in \[0, 1\], got \[0, 255\]: divide"):
        encoder(255 * (torch.arange(768) % 2).reshape(1, 3, 16, 16).float())
    with pytest.raises(ValueError, match=r"image values must lie in \[0, 1\], got \[nan, nan\]"):
        encoder(torch.full((1, 3, 16, 16), torch.nan))
    with pytest.raises(TypeError, match=r"must be float32 in \[0, 1\], got torch.uint8: use image.float\(\) / 255"):
        encoder(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"must be float32 in \[0, 1\], got torch.float64: use image.float\(\)$"):
        encoder(torch.rand(1, 3, 16, 16, dtype=torch.float64))
    with pytest.raises(TypeError, match="must be a tensor.*got ndarray"):
        encoder(np.zeros((1, 3, 16, 16), dtype=np.float32))
    with pytest.raises(ValueError, match="image_size=18 is not a multiple of 4: choose image_size=16 or 20$"):
        SlotAttentionEncoder(18)


# ---------------------------------------------------------------- positions


def test_coordinates_are_cell_centres_row_by_row() -> None:
    grid = coordinate_grid(2, 4)
    assert grid.shape == (8, 2)
    assert grid[:, 0].tolist() == [-0.75, -0.25, 0.25, 0.75] * 2  # x, to the right
    assert grid[:, 1].tolist() == [-0.5] * 4 + [0.5] * 4  # y, downwards


def test_fourier_features_tell_all_positions_apart() -> None:
    features = fourier_features(coordinate_grid(16, 16), 4)
    assert features.shape == (256, 16) and features.abs().max() <= 1
    distances = torch.cdist(features, features) + 9 * torch.eye(256)
    assert distances.min() > 0.1
    one = fourier_features(torch.tensor([[0.5, -1.0]]), 2)[0]
    angles = torch.tensor([0.25, 0.5, -0.5, -1.0]) * math.pi  # x then y, at π/2 and π
    torch.testing.assert_close(one, torch.cat([angles.sin(), angles.cos()]))
