"""The dVAE: what its noise is, what its tokens mean, and its errors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from src.models.dvae import DVAE, PATCH, _SoftSample

SIZE, VOCAB = 16, 6
LENGTH = (SIZE // PATCH) ** 2


def make_dvae(**changes: int) -> DVAE:
    return DVAE(**{"image_size": SIZE, "vocab_size": VOCAB, **changes})


def images(batch: int = 2, channels: int = 3) -> Tensor:
    return torch.rand(batch, channels, SIZE, SIZE)


# ---------------------------------------------------------------- tokens


def test_shapes() -> None:
    dvae = make_dvae(channels=1)
    image = images(channels=1)
    recon, tokens = dvae(image)
    assert recon.shape == image.shape and recon.dtype == torch.float32
    assert tokens.shape == (2, LENGTH) and tokens.dtype == torch.int64
    assert dvae.logits(image).shape == (2, LENGTH, VOCAB)
    assert dvae.decode(dvae.tokens(image)).shape == image.shape


def test_a_token_sees_its_own_patch_only_row_by_row() -> None:
    dvae, image = make_dvae(), images(1)
    before = dvae.logits(image)
    image[:, :, PATCH : 2 * PATCH, 2 * PATCH : 3 * PATCH] = torch.rand(1, 3, PATCH, PATCH)
    changed = (dvae.logits(image) - before)[0].abs().amax(-1) > 1e-6
    assert changed.nonzero().flatten().tolist() == [SIZE // PATCH + 2]


def test_decoding_tokens_equals_decoding_one_hot_vectors() -> None:
    dvae, tokens = make_dvae(), torch.randint(VOCAB, (2, LENGTH))
    with torch.no_grad():
        dvae.token_bias.normal_()
    expected = dvae._paint(F.one_hot(tokens, VOCAB).float() @ dvae.token_features)
    torch.testing.assert_close(dvae.decode(tokens), expected)


@pytest.mark.slow
def test_it_can_learn() -> None:
    dvae, image = make_dvae(), images(8).round()
    image = F.interpolate(image[:, :, ::4, ::4], scale_factor=4)  # patches of one colour
    optimizer = torch.optim.Adam(dvae.parameters(), lr=3e-3)
    losses = []
    for step in range(100):
        dvae.tau = 1 - 0.009 * step
        loss = (dvae(image, torch.arange(8) + 100 * step).recon - image).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


# ---------------------------------------------------------------- noise


def test_the_noise_of_an_image_is_a_matter_of_its_key() -> None:
    dvae, image = make_dvae(), images(3)
    keys = torch.tensor([5, -7, 2**62])
    recon, tokens = dvae(image, keys)
    state = torch.get_rng_state()
    again = dvae(image[1:], keys[1:])
    assert torch.equal(torch.get_rng_state(), state)  # the global stream is left alone
    torch.testing.assert_close(again.recon, recon[1:])
    assert torch.equal(again.tokens, tokens[1:])
    other = dvae(image, keys + 1)
    assert not torch.allclose(other.recon, recon) and not torch.equal(other.tokens, tokens)


def test_without_keys_the_global_generator_decides() -> None:
    dvae, image = make_dvae(), images()
    torch.manual_seed(1)
    first, second = dvae(image), dvae(image)
    torch.manual_seed(1)
    assert torch.equal(dvae(image).recon, first.recon)
    assert not torch.allclose(first.recon, second.recon)


def test_samples_follow_the_probabilities_and_are_independent() -> None:
    probabilities = torch.tensor([0.05, 0.1, 0.15, 0.7])
    count = 20_000
    logits = probabilities.log().expand(1, count, -1) + 3  # a shift of logits means nothing
    soft, hard = _SoftSample.apply(logits, 0.5, [0])
    torch.testing.assert_close(soft.sum(-1), torch.ones(1, count))
    deviation = (probabilities * (1 - probabilities) / count).sqrt()
    both = []
    for drawn in (soft.argmax(-1)[0], hard[0]):
        both.append(F.one_hot(drawn, 4).float())
        assert ((both[-1].mean(0) - probabilities).abs() < 5 * deviation).all()
    together = both[0].T @ both[1] / count
    assert (together - probabilities[:, None] * probabilities).abs().max() < 0.015


def test_soft_samples_sharpen_as_tau_falls() -> None:
    logits = torch.randn(1, 500, VOCAB)
    largest = [_SoftSample.apply(logits, tau, [3])[0].amax(-1).mean().item() for tau in (10.0, 1.0, 0.1, 0.001)]
    assert largest == sorted(largest) and largest[0] < 0.3 and largest[-1] > 0.99


def test_the_gradient_of_a_soft_sample() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    direction = torch.randn(2, 3, 4)
    (ours,) = torch.autograd.grad(_SoftSample.apply(logits, 0.7, [1, 2])[0], logits, direction)
    soft, _ = _SoftSample.apply(logits, 0.7, [1, 2])
    weighted = soft * direction
    expected = (weighted - soft * weighted.sum(-1, keepdim=True)) / 0.7
    torch.testing.assert_close(ours, expected)


def test_impossible_tokens_are_never_drawn() -> None:
    logits = torch.zeros(1, 5000, 4)
    logits[..., 0] = logits[..., 3] = -torch.inf
    soft, hard = _SoftSample.apply(logits, 1.0, [0])
    assert hard.unique().tolist() == [1, 2]
    assert soft.isfinite().all() and soft[..., [0, 3]].max() == 0


def test_under_autocast() -> None:
    dvae, image = make_dvae(), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        recon, tokens = dvae(image)
        recon.sum().backward()
    assert recon.dtype == torch.float32 and tokens.max() < VOCAB
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in dvae.parameters())


# ---------------------------------------------------------------- errors


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="image_size=18 is not a multiple of 4: choose image_size=16 or 20"):
        make_dvae(image_size=18)
    for name in ("image_size", "channels", "vocab_size"):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got 0"):
            make_dvae(**{name: 0})


def test_wrong_inputs() -> None:
    dvae = make_dvae()
    with pytest.raises(ValueError, match=r"image had shape \(2, 1, 16, 16\) but expected \(B, 3, 16, 16\)"):
        dvae(images(channels=1))
    with pytest.raises(ValueError, match=r"keys had shape \(3,\) but expected one for each of 2 images"):
        dvae(images(), torch.arange(3))
    for tau in (0, -1.0, float("nan"), float("inf")):
        dvae.tau = tau
        with pytest.raises(ValueError, match=f"tau must be a finite number greater than 0, got {tau}"):
            dvae(images())
    dvae.tau = "1"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError, match="tau must be a finite number greater than 0, got '1'"):
        dvae(images())


def test_wrong_tokens() -> None:
    dvae = make_dvae()
    with pytest.raises(ValueError, match=r"tokens had shape \(2, 15\) but expected \(B, 16\)"):
        dvae.decode(torch.zeros(2, 15, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"tokens must lie in \[0, 6\), got \[0, 6\]"):
        dvae.decode(torch.tensor([[0] * 15 + [6]]))
    with pytest.raises(TypeError, match="tokens must be an int64 tensor, got torch.float32"):
        dvae.decode(torch.zeros(2, 16))
    with pytest.raises(TypeError, match="tokens must be an int64 tensor, got list"):
        dvae.decode([[0] * 16])  # pyright: ignore[reportArgumentType]
