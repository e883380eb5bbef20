"""Phase two: the prior learns the codes of the best autoencoder, which are computed once and kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..data.base import SceneDataset
from ..models.transformer_decoder import AutoregressiveTransformer
from ..utils import visualization
from ..utils.progress import progress_bar
from ..utils.randomness import own_randomness
from .autoencoder import as_images
from .batches import BatchOrder, batches
from .checkpoint import PRIOR
from .engine import fused_adam
from .loop import Phase, half_life, run_phase
from .session import Session

SEED_OFFSET = 1_000_003  # the order of this phase's batches and its draws are not those of the first phase


def add_prior(session: Session) -> None:
    """Gives the model an untrained prior of the settings' size; its weights depend on the seed alone."""
    settings = session.config.training.prior
    with own_randomness(session.config.seed + SEED_OFFSET, session.fabric.device):
        session.model.init_prior(
            embed_dim=settings.embed_dim,
            num_heads=settings.num_heads,
            num_layers=settings.num_layers,
            dropout=settings.dropout,
            style=settings.style,
            relations=settings.relations,
        )


def train_prior(session: Session, train_data: SceneDataset, val_data: SceneDataset) -> None:
    """Runs the phase; afterwards `session.state.best` holds the best autoencoder with the best prior."""
    fabric, settings = session.fabric, session.config.training.prior
    prior = session.model.prior
    assert prior is not None, "add_prior comes first"
    train_codes = cache_codes(session, train_data.images, "codes of the training images")
    val_codes = cache_codes(session, val_data.images, "codes of the validation images")
    optimizer = torch.optim.AdamW(
        prior.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=fused_adam(fabric.device),
    )
    model, optimizer = fabric.setup(prior, optimizer)
    model.mark_forward_method("nll")
    if session.state.optimizer:
        optimizer.load_state_dict(session.state.optimizer)

    def loss(codes: Tensor) -> tuple[Tensor, dict[str, float]]:
        nll = model.nll(codes.to(fabric.device, non_blocking=True)).mean()
        return nll, _metrics(nll.item())

    def validate() -> dict[str, float]:
        return _metrics(validation_nll(session, prior, val_codes))

    order = BatchOrder(
        len(train_codes),
        settings.batch_size,
        session.config.seed + SEED_OFFSET,
        session.state.step,
        fabric.global_rank,
        fabric.world_size,
    )
    phase = Phase(
        name=PRIOR,
        seed=session.config.seed + SEED_OFFSET,
        model=model,
        optimizer=optimizer,
        batches=batches(train_codes, order),
        loss=loss,
        validate=validate,
        illustrate=lambda: show_samples(session),
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        half_life=half_life(session.config.training),
        grad_clip=settings.grad_clip,
        clip_norm=session.config.training.clip_norm,
    )
    session.model.eval()  # the autoencoder stays as it is; the loop puts the prior alone into training mode
    run_phase(phase, session)


@torch.no_grad()
def cache_codes(session: Session, pixels: Tensor, description: str) -> Tensor:
    """The codes (num, N, M) int64 of `pixels` (num, 3, H, W) uint8, each scene's slots in canonical order.

    Raises:
        Interrupted: a signal asked for it.
    """
    model, fabric = session.model, session.fabric
    model.eval()
    codes = []
    many = 8 * session.config.training.batch_size  # without gradients a scene needs far less memory
    with (
        own_randomness(session.config.seed, fabric.device),
        fabric.autocast(),
        progress_bar(description, len(pixels), unit="image", enabled=fabric.is_global_zero) as bar,
    ):
        for chunk in pixels.split(many):
            codes.append(model.in_order(model.encode(as_images(chunk, fabric.device))).cpu())
            bar.update(len(chunk))
            if session.stop.number:  # last.pth is from before: there is no training here
                raise session.stopped(f"while computing the {description}", session.stop.number)
    return torch.cat(codes)


@torch.no_grad()
def validation_nll(session: Session, prior: AutoregressiveTransformer, codes: Tensor) -> float:
    """Mean negative log-likelihood of `codes` (num, N, M), nats a code."""
    prior.eval()
    total = 0.0
    with session.fabric.autocast():
        for chunk in codes.split(session.config.training.prior.batch_size):
            total += prior.nll(chunk.to(session.fabric.device)).cpu().double().sum().item()
    return total / codes.numel()


@torch.no_grad()
def draw_samples(session: Session, count: int) -> Tensor:
    """`count` scenes (count, 3, H, W) from the prior as it is now; the same noise every time."""
    device = session.fabric.device
    session.model.eval()
    generator = torch.Generator(device).manual_seed(session.config.seed)
    with session.fabric.autocast():
        return session.model.generate(count, generator=generator).float().cpu()


def show_samples(session: Session) -> None:
    """Samples of the prior, into TensorBoard."""
    if session.fabric.is_global_zero:
        images = draw_samples(session, session.config.visualization.num_samples)
        session.board.figure("samples", visualization.sample_sheet(images), session.state.step)


def _metrics(nll: float) -> dict[str, float]:
    return {"loss": nll, "bits_per_code": nll / math.log(2)}
