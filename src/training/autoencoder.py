"""Phase one: the autoencoder learns to find objects, to write them as codes and to paint them from codes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.base import SceneDataset
from ..utils import visualization
from ..utils.codebook_stats import count_codes, usage
from ..utils.randomness import own_randomness
from .batches import BatchOrder, batches
from .checkpoint import AUTOENCODER
from .engine import fused_adam
from .loop import Phase, run_phase
from .schedule import ramp
from .session import Session


def train_autoencoder(session: Session, train_data: SceneDataset, val_data: SceneDataset) -> None:
    """Runs the phase; afterwards `session.state.best` holds the weights with the smallest validation loss."""
    fabric, settings = session.fabric, session.config.training
    # PyTorch's annotations lack the overload that its documentation has.
    svq = session.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.Adam(svq.parameters(), lr=settings.learning_rate, fused=fused_adam(fabric.device))
    model, optimizer = fabric.setup(svq, optimizer)
    model.mark_forward_method("compute_loss")
    if session.state.optimizer:
        optimizer.load_state_dict(session.state.optimizer)

    def loss(pixels: Tensor) -> tuple[Tensor, dict[str, float]]:
        step = session.state.step
        svq.quantizer.strength = ramp(step, settings.quantize_from, settings.quantize_by)
        svq.decoder.sketch_weight = float(step < settings.sketch_steps)
        images = as_images(pixels, fabric.device)
        return model.compute_loss(images, model(images), settings.recon_loss_weight, settings.commitment_loss_weight)

    def validate() -> dict[str, float]:
        metrics, counts = validation_metrics(session, val_data.images)
        session.board.codebooks(f"{AUTOENCODER}_codes", counts, session.state.step)
        return metrics

    svq.quantizer.bypass = settings.bypass
    order = BatchOrder(
        len(train_data),
        settings.batch_size,
        session.config.seed,
        session.state.step,
        fabric.global_rank,
        fabric.world_size,
    )
    phase = Phase(
        name=AUTOENCODER,
        seed=session.config.seed,
        model=model,
        optimizer=optimizer,
        batches=batches(train_data, order, session.config.data.num_workers, fabric.device.type == "cuda"),
        loss=loss,
        validate=validate,
        illustrate=lambda: show_reconstructions(session, val_data.images),
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        grad_clip=settings.grad_clip,
    )
    run_phase(phase, session)
    svq.quantizer.strength, svq.quantizer.bypass, svq.decoder.sketch_weight = 1.0, 0.0, 1.0


def as_images(pixels: Tensor, device: torch.device) -> Tensor:
    """Cached pixels (B, 3, H, W) uint8 → images float32 in [0, 1] on `device`, laid out for convolutions."""
    pixels = pixels.to(device, non_blocking=True)
    return pixels.to(torch.float32, memory_format=torch.channels_last).div_(255)


@torch.no_grad()
def validation_metrics(session: Session, pixels: Tensor) -> tuple[dict[str, float], Tensor]:
    """The terms of the loss over `pixels` (num, 3, H, W) uint8, and how often each code was used (M, K)."""
    svq, settings, fabric = session.model, session.config.training, session.fabric
    svq.eval()
    sums: dict[str, float] = {}
    codes = []
    with own_randomness(session.config.seed, fabric.device), fabric.autocast():
        for chunk in pixels.split(settings.batch_size):
            images = as_images(chunk, fabric.device)
            outputs = svq(images)
            _, terms = svq.compute_loss(images, outputs, settings.recon_loss_weight, settings.commitment_loss_weight)
            for key, value in terms.items():
                sums[key] = sums.get(key, 0.0) + value * len(chunk)
            codes.append(outputs["codes"].cpu())
    counts = count_codes(torch.cat(codes), session.config.model.codebook_size)
    use = usage(counts)
    metrics = {key: value / len(pixels) for key, value in sums.items()}
    return metrics | {"perplexity": float(use.perplexity.mean()), "codes_used": float(use.share.mean())}, counts


@torch.no_grad()
def reconstruct(session: Session, pixels: Tensor) -> dict[str, Tensor]:
    """What the model makes of `pixels` (num, 3, H, W) uint8: the outputs of `SVQ` and "image", on the CPU."""
    session.model.eval()
    with own_randomness(session.config.seed, session.fabric.device), session.fabric.autocast():
        images = as_images(pixels, session.fabric.device)
        outputs = session.model(images)
    return {key: value.float().cpu() for key, value in {**outputs, "image": images}.items()}


def show_reconstructions(session: Session, pixels: Tensor) -> None:
    """Reconstructions, each slot's mask and each slot's picture, into TensorBoard."""
    if session.fabric.is_global_zero:
        shown = session.config.visualization.num_images
        seen = reconstruct(session, pixels[:shown])
        step = session.state.step
        grid = visualization.reconstruction_grid(
            seen["image"], seen["recon"], seen["masks"], seen["slot_images"], num_images=shown
        )
        session.board.figure("reconstructions", grid, step)
        masks = visualization.mask_grid(seen["image"], seen["masks"], num_images=shown)
        session.board.figure("masks", masks, step)
