"""The image decoder: causal, sampled as it was trained, and what its memory may mix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.models.token_decoder import TokenDecoder

DIM, SLOTS, BLOCKS, SIZE, VOCAB = 6, 3, 2, 16, 7
LENGTH = (SIZE // 4) ** 2


def make_decoder(dropout: float = 0.1, **changes: int) -> TokenDecoder:
    sizes = {
        "slot_dim": DIM,
        "num_slots": SLOTS,
        "num_blocks": BLOCKS,
        "image_size": SIZE,
        "vocab_size": VOCAB,
        "embed_dim": 8,
        "num_heads": 2,
        "num_layers": 2,
    }
    decoder = TokenDecoder(**{**sizes, **changes}, dropout=dropout)
    with torch.no_grad():  # large enough for predictions far from uniform and blocks that differ
        decoder.head.weight.normal_()
        decoder.block_position.normal_()
    return decoder.eval()


def random_slots(batch: int = 2) -> Tensor:
    return torch.randn(batch, SLOTS, DIM)


def random_tokens(batch: int = 2) -> Tensor:
    return torch.randint(VOCAB, (batch, LENGTH))


# ---------------------------------------------------------------- memory


def test_blocks_meet_those_of_their_own_slot_only() -> None:
    decoder, slots = make_decoder(), random_slots(1)
    before = decoder.memory(slots).unflatten(1, (SLOTS, BLOCKS))
    slots[0, 1, : DIM // BLOCKS] += 1  # the first block of the second slot
    changed = (decoder.memory(slots).unflatten(1, (SLOTS, BLOCKS)) - before)[0].abs().amax(-1) > 1e-6
    assert changed.tolist() == [[False, False], [True, True], [False, False]]


def test_slots_have_no_order_and_blocks_have() -> None:
    decoder, slots, tokens = make_decoder(), random_slots(), random_tokens()
    logits = decoder.logits(slots, tokens)
    torch.testing.assert_close(decoder.logits(slots.flip(1), tokens), logits)
    swapped = slots.unflatten(-1, (BLOCKS, -1)).flip(2).flatten(2)
    assert not torch.allclose(decoder.logits(swapped, tokens), logits, atol=1e-3)


# ---------------------------------------------------------------- likelihood


@pytest.mark.parametrize("position", [0, 5, LENGTH - 1])
def test_a_token_changes_later_predictions_only(position: int) -> None:
    decoder, slots, tokens = make_decoder(), random_slots(), random_tokens()
    before = decoder.logits(slots, tokens)
    tokens[:, position] = (tokens[:, position] + 1) % VOCAB
    changed = (decoder.logits(slots, tokens) - before).abs().amax(-1) > 1e-6
    assert not changed[:, : position + 1].any() and changed[:, position + 1 :].all()


def test_nll_is_minus_the_log_probability_of_the_tokens() -> None:
    decoder, slots, tokens = make_decoder(), random_slots(), random_tokens()
    logits = decoder.logits(slots, tokens)
    assert logits.shape == (2, LENGTH, VOCAB) and logits.dtype == torch.float32
    expected = -logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).sum((1, 2))
    nll = decoder.nll(slots, tokens)
    torch.testing.assert_close(nll, expected)
    parameters = [decoder.head.weight, decoder.begin, decoder.from_block.weight]
    for ours, theirs in zip(
        torch.autograd.grad(nll.sum(), parameters), torch.autograd.grad(expected.sum(), parameters), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_losses_train_everything_but_the_dvae_does_not_see_the_slots() -> None:
    decoder, image = make_decoder().train(), torch.rand(2, 3, SIZE, SIZE)
    slots = random_slots().requires_grad_()
    losses = decoder.losses(slots, image, torch.arange(2))
    assert losses.keys() == {"dvae_loss", "token_loss"}
    (of_slots,) = torch.autograd.grad(losses["token_loss"], slots, retain_graph=True)
    assert (of_slots.abs().amax(-1) > 0).all()
    assert torch.autograd.grad(losses["dvae_loss"], slots, retain_graph=True, allow_unused=True) == (None,)
    sum(losses.values()).backward()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_losses_are_sums_over_an_image_and_means_over_the_batch() -> None:
    decoder, image, slots = make_decoder(), torch.rand(2, 3, SIZE, SIZE), random_slots()
    keys = torch.tensor([3, 4])
    losses = decoder.losses(slots, image, keys)
    recon, tokens = decoder.dvae(image, keys)
    torch.testing.assert_close(losses["dvae_loss"], (recon - image).square().sum() / 2)
    torch.testing.assert_close(losses["token_loss"], decoder.nll(slots, tokens).mean())


def test_it_can_learn() -> None:
    """Two images, told apart by their slots."""
    decoder = make_decoder(dropout=0.0, embed_dim=16).train()
    slots, tokens = random_slots(), random_tokens()
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)
    for _ in range(60):
        loss = decoder.nll(slots, tokens).mean() / LENGTH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    assert torch.equal(decoder.eval().generate(slots), tokens)


# ---------------------------------------------------------------- generation


@torch.no_grad()
def generate_without_cache(
    decoder: TokenDecoder, slots: Tensor, temperature: float | None, generator: torch.Generator | None
) -> Tensor:
    """The same tokens, from a full pass over the whole image for each."""
    tokens = torch.zeros(len(slots), LENGTH, dtype=torch.int64)
    for position in range(LENGTH):
        logits = decoder.logits(slots, tokens)[:, position]
        if temperature is None:
            tokens[:, position] = logits.argmax(-1)
        else:
            weights = (logits / temperature).softmax(-1)
            tokens[:, position] = torch.multinomial(weights, 1, generator=generator)[:, 0]
    return tokens


@pytest.mark.parametrize("temperature", [None, 0.3, 1.0, 2.0])
def test_cached_generation_equals_recomputing_everything(temperature: float | None) -> None:
    decoder, slots = make_decoder(), random_slots(16)
    cached = decoder.generate(slots, temperature, torch.Generator().manual_seed(7))
    expected = generate_without_cache(decoder, slots, temperature, torch.Generator().manual_seed(7))
    assert torch.equal(cached, expected)
    assert len(cached.unique(dim=0)) > 1


def test_paint_decodes_the_generated_tokens() -> None:
    decoder, slots = make_decoder(), random_slots()
    image = decoder.paint(slots)
    assert image.shape == (2, 3, SIZE, SIZE) and not image.requires_grad
    torch.testing.assert_close(image, decoder.dvae.decode(decoder.generate(slots)))


@pytest.mark.parametrize("training", [True, False])
def test_generation_drops_nothing_out_and_restores_the_mode(training: bool) -> None:
    decoder, slots = make_decoder(dropout=0.9).train(training), random_slots()
    tokens = decoder.generate(slots)
    assert all(module.training is training for module in decoder.modules())
    assert torch.equal(tokens, generate_without_cache(decoder.eval(), slots, None, None))


def test_dropout_acts_in_training() -> None:
    decoder, slots, tokens = make_decoder(dropout=0.5).train(), random_slots(), random_tokens()
    assert not torch.equal(decoder.logits(slots, tokens), decoder.logits(slots, tokens))
    assert torch.equal(decoder.memory(slots), decoder.memory(slots))  # none in the coupler


def test_under_autocast() -> None:
    decoder, slots = make_decoder(), random_slots()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert decoder.logits(slots, random_tokens()).dtype == torch.float32
        assert decoder.nll(slots, random_tokens()).dtype == torch.float32
        tokens = decoder.generate(slots)
        assert decoder.paint(slots).dtype == torch.float32
    assert tokens.min() >= 0 and tokens.max() < VOCAB


# ---------------------------------------------------------------- loading and errors


def test_weights_of_another_number_of_heads_are_refused() -> None:
    with pytest.raises(RuntimeError, match="the weights are those of a decoder with num_heads=2, not 4"):
        make_decoder(num_heads=4).load_state_dict(make_decoder().state_dict())


@pytest.mark.parametrize(
    "name", ["slot_dim", "num_slots", "num_blocks", "image_size", "vocab_size", "embed_dim", "num_heads", "num_layers"]
)
def test_sizes_must_be_positive_integers(name: str) -> None:
    for value in (0, 2.5):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got {value}"):
            make_decoder(**{name: value})  # pyright: ignore[reportArgumentType]


def test_other_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="slot_dim=6 does not divide into num_blocks=4 equal parts"):
        make_decoder(num_blocks=4)
    with pytest.raises(ValueError, match="embed_dim=6 is not a multiple of 4: choose embed_dim=4 or 8"):
        make_decoder(embed_dim=6)
    with pytest.raises(ValueError, match="image_size=15 is not a multiple of 4"):
        make_decoder(image_size=15)
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\), got 1.0"):
        make_decoder(dropout=1.0)


def test_wrong_inputs() -> None:
    decoder, slots = make_decoder(), random_slots()
    for act in (decoder.memory, decoder.generate, decoder.paint):
        with pytest.raises(ValueError, match=r"slots had shape \(2, 6, 3\) but expected \(B, 3, 6\)"):
            act(slots.mT)
    with pytest.raises(ValueError, match=r"tokens had shape \(2, 15\) but expected \(B, 16\)"):
        decoder.logits(slots, random_tokens()[:, 1:])
    with pytest.raises(ValueError, match="temperature must be greater than 0, got 0"):
        decoder.generate(slots, temperature=0)
    with pytest.raises(TypeError, match="temperature must be a number greater than 0, got 'hot'"):
        decoder.generate(slots, temperature="hot")  # pyright: ignore[reportArgumentType]
