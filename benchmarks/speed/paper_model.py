"""The paper's model: what its official code takes, and the same work done here.

The official code was timed once, in float32 with two threads, on two cores of an Intel Xeon (Sapphire Rapids); it is no
part of this project, so it is not timed again beside ours. On another machine ratios to those times say little: the
share of the matrix product does, and sampling is compared with the official way of sampling, written out here.
"""

from __future__ import annotations

import torch
from torch import nn

from src.configs.launch import compose_config
from src.models.svq_model import SVQ
from src.models.transformer import TransformerLayer
from src.training.build import make_model
from src.utils.precision import autocast, resolve_precision

from .measurement import Measurement, measure
from .timing import CPU

OFFICIAL_STEP = 12.7  # seconds, batch of 4
OFFICIAL_IMAGE = 36.0  # seconds, one image of 1,024 tokens

SIZES = ("experiment=nlotm_sprites", "data.image_size=128", "model.num_slots=4")
STEP_OF_THE_PAPER = (*SIZES, "training.batch_size=40")
FEW_FOR_A_CPU = (*SIZES, "training.batch_size=4")


def paper_model(device: torch.device) -> SVQ:
    """The paper's model for 128 px with its prior, untrained, in eval mode."""
    torch.manual_seed(0)
    config = compose_config(SIZES)
    model = make_model(config.model)
    assert isinstance(model, SVQ)
    prior = config.training.prior
    model.init_prior(prior.embed_dim, prior.num_heads, prior.num_layers, prior.dropout, prior.style)
    return model.to(device).eval()


def measure_decoding(rounds: int, device: torch.device, most_rounds: int, batch: int = 8) -> Measurement:
    """From codes to images, in the precision of this machine; the ratio is one of seconds an image, on a CPU."""
    model, precision = paper_model(device), resolve_precision("auto", device.type)
    shape = (batch, model.num_slots, model.num_codebooks)
    codes = torch.randint(model.codebook_size, shape, device=device)

    @torch.no_grad()
    def paint() -> None:
        with autocast(precision, device.type):
            model.paint(codes)

    return measure(
        paint,
        min(rounds, most_rounds),
        peer=OFFICIAL_IMAGE if device == CPU else None,
        precision=precision,
        images=batch,
        peer_images=1,
        device=device,
    )


def measure_sampling(rounds: int, device: torch.device, scenes: int = 8) -> Measurement:
    """In float32, against recomputing everything so far for each code, as the official code does."""
    prior = paper_model(device).prior
    assert prior is not None
    layers = [layer for layer in prior.layers if isinstance(layer, TransformerLayer)]
    width = prior.begin.shape[0]
    layer = nn.TransformerEncoderLayer(width, layers[0].attention.num_heads, 4 * width, batch_first=True)
    encoder = nn.TransformerEncoder(layer, len(layers), enable_nested_tensor=False).to(device).eval()
    length = prior.num_slots * prior.num_codebooks
    embedding = nn.Embedding(prior.num_codebooks * prior.codebook_size, width, device=device)
    head = nn.Linear(width, prior.num_codebooks * prior.codebook_size, bias=False, device=device)
    position = torch.randn(length, width, device=device)

    @torch.no_grad()
    def sample_by_prefix() -> None:
        tokens = torch.randn(scenes, 1, width, device=device)
        for _ in range(length):
            known = tokens.shape[1]
            mask = nn.Transformer.generate_square_subsequent_mask(known, device=device)
            states = encoder(tokens * width**0.5 + position[:known], mask=mask, is_causal=True)
            drawn = torch.multinomial(head(states)[:, -1].softmax(-1), 1)
            tokens = torch.cat([tokens, embedding(drawn)], dim=1)

    return measure(lambda: prior.sample(scenes), rounds, peer=sample_by_prefix, device=device)
