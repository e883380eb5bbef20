"""Our modules with official weights against the numbers of the official code (tests/models/official/README.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.models.official import dvae_rules, prior_rules, renamed, token_decoder_rules
from src.models.token_decoder import TokenDecoder
from src.models.transformer_decoder import AutoregressiveTransformer

OFFICIAL = Path(__file__).parent / "official"


@pytest.fixture(scope="module", params=["random", "learned"])
def golden(request: pytest.FixtureRequest) -> dict:
    return torch.load(OFFICIAL / f"official_tiny_{request.param}.pt", weights_only=True)


def decoder_part(golden: dict) -> dict[str, Tensor]:
    return {k: v for k, v in golden["model"].items() if k.startswith(("dvae.", "image_decoder."))}


@pytest.fixture
def decoder(golden: dict) -> TokenDecoder:
    config = golden["config"]
    decoder = TokenDecoder(
        slot_dim=config["slot_size"],
        num_slots=config["num_slots"],
        num_blocks=config["num_blocks"],
        image_size=config["image_size"],
        channels=config["image_channels"],
        vocab_size=config["vocab_size"],
        embed_dim=config["d_model"],
        num_heads=config["num_decoder_heads"],
        num_layers=config["num_decoder_layers"],
    ).eval()
    rules = token_decoder_rules(config["num_decoder_layers"])
    decoder.load_state_dict(renamed(decoder_part(golden), rules, decoder.state_dict()))
    return decoder


def new_prior(golden: dict) -> AutoregressiveTransformer:
    config = golden["config"]
    return AutoregressiveTransformer(
        config["num_slots"],
        config["num_blocks"],
        config["num_prototypes"],
        embed_dim=config["prior_d_model"],
        num_heads=config["prior_num_heads"],
        num_layers=config["prior_num_decoder_layers"],
        style="paper",
    ).eval()


def assert_same(ours: Tensor, official: Tensor) -> None:
    """Within 1e-4 of the largest value."""
    assert ours.shape == official.shape
    assert (ours - official).abs().max() <= 1e-4 * official.abs().max()


@torch.no_grad()
def test_memory(golden: dict, decoder: TokenDecoder) -> None:
    assert_same(decoder.memory(golden["io"]["slots"]), golden["io"]["memory"])


@torch.no_grad()
def test_token_logits(golden: dict, decoder: TokenDecoder) -> None:
    io = golden["io"]
    assert_same(decoder.logits(io["slots"], io["dvae_tokens"]), io["token_logits"])


@torch.no_grad()
def test_tokens_of_the_dvae(golden: dict, decoder: TokenDecoder) -> None:
    io = golden["io"]
    logits = decoder.dvae.logits(io["image"])
    assert_same(logits.log_softmax(-1).mean(1), io["dvae_log_probs_mean"])
    likeliest = logits.topk(2).values
    clear = likeliest[..., 0] - likeliest[..., 1] > 1e-3
    assert clear.float().mean() > 0.9
    assert torch.equal(decoder.dvae.tokens(io["image"])[clear], io["dvae_tokens"][clear])


@torch.no_grad()
def test_reconstruction_of_the_dvae(golden: dict, decoder: TokenDecoder) -> None:
    assert_same(decoder.dvae.decode(golden["io"]["dvae_tokens"]), golden["io"]["dvae_recon"])


@torch.no_grad()
def test_prior_logits(golden: dict) -> None:
    prior = new_prior(golden)
    rules = prior_rules(golden["config"]["prior_num_decoder_layers"])
    prior.load_state_dict(renamed(golden["prior"], rules, prior.state_dict()))
    joint = golden["io"]["prior_logits"].unflatten(1, (prior.num_slots, prior.num_codebooks))  # (B, N, M, M · K)
    blocks = range(prior.num_codebooks)
    own = torch.stack([joint[:, :, m].unflatten(-1, (len(blocks), -1))[:, :, m] for m in blocks], dim=2)
    assert_same(prior(golden["io"]["indices"]), own)


@pytest.mark.parametrize("part", ["decoder", "prior"])
def test_every_weight_comes_from_the_official_ones(golden: dict, part: str) -> None:
    if part == "decoder":
        state, rules = decoder_part(golden), token_decoder_rules(golden["config"]["num_decoder_layers"])
        module = TokenDecoder(32, 3, 4, 64, vocab_size=32, embed_dim=16, num_heads=2, num_layers=2)
    else:
        state, rules = golden["prior"], prior_rules(golden["config"]["prior_num_decoder_layers"])
        module = new_prior(golden)
    assert sorted(rule.ours for rule in rules) == sorted(name for name, _ in module.named_parameters())
    ours = module.state_dict()
    made = renamed(state, rules, ours)
    assert made.keys() == ours.keys() and int(made["num_heads"]) == int(ours["num_heads"])


def test_whatever_does_not_fit_is_named() -> None:
    golden = torch.load(OFFICIAL / "official_tiny_random.pt", weights_only=True)
    prior = new_prior(golden)
    state = dict(golden["prior"])
    del state["bos"]
    state["tf.layers.2.norm1.bias"] = torch.zeros(16)
    state["head.weight"] = state["head.weight"][:, :15]
    state["tf.layers.0.linear1.weight"] = state["tf.layers.0.linear1.weight"].T
    with pytest.raises(ValueError) as error:
        renamed(state, prior_rules(2), prior.state_dict())
    assert str(error.value) == (
        "this is no state dict of such a model: bos is missing; tf.layers.2.norm1.bias is unexpected; "
        "head.weight (32, 15) does not fit head (4, 16, 8); "
        "tf.layers.0.linear1.weight (16, 64) does not fit layers.0.mlp.0.weight (64, 16)"
    )


def test_the_wrong_number_of_dimensions_is_named() -> None:
    golden = torch.load(OFFICIAL / "official_tiny_random.pt", weights_only=True)
    decoder = TokenDecoder(32, 3, 4, 64, vocab_size=32, embed_dim=16, num_heads=2, num_layers=2)
    state = decoder_part(golden)
    state["image_decoder.bos"] = torch.zeros(())
    state["dvae.decoder.0.m.weight"] = torch.zeros(64, 32)
    with pytest.raises(ValueError) as error:
        renamed(state, token_decoder_rules(2), decoder.state_dict())
    assert str(error.value).endswith(
        "dvae.decoder.0.m.weight (64, 32) does not fit dvae.token_features (32, 64); "
        "image_decoder.bos () does not fit begin (16,)"
    )
    assert len(dvae_rules()) == len(list(decoder.dvae.parameters()))
