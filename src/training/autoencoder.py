"""Phase one: the autoencoder learns to find objects, to write them as codes and to paint them from codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..configs.schema import TrainingConfig
from ..data.base import SceneDataset
from ..models.code_model import CodeModel
from ..models.dvae import DVAE
from ..models.slot_decoder import SVQDecoder, losses_only
from ..models.vector_quantizer import SemanticVectorQuantizer
from ..utils import visualization
from ..utils.codebook_stats import count_codes, usage
from ..utils.randomness import own_randomness
from .batches import BatchOrder, batches
from .checkpoint import AUTOENCODER
from .engine import fused_adam
from .loop import Phase, half_life, run_phase
from .schedule import gumbel_temperature_at, ramp
from .session import Session


def train_autoencoder(session: Session, train_data: SceneDataset, val_data: SceneDataset) -> None:
    """Runs the phase; afterwards `session.state.best` holds the weights with the smallest validation loss."""
    fabric, settings = session.fabric, session.config.training
    # PyTorch's annotations lack the overload that its documentation has.
    whole = session.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    groups = parameter_groups(whole, settings)
    optimizer = torch.optim.Adam(groups, lr=settings.learning_rate, fused=fused_adam(fabric.device))
    model, optimizer = fabric.setup(whole, optimizer)
    model.mark_forward_method("compute_loss")
    if session.state.optimizer:
        optimizer.load_state_dict(session.state.optimizer)

    def loss(pixels: Tensor) -> tuple[Tensor, dict[str, float]]:
        set_ramps(whole, settings, session.state.step)
        images = as_images(pixels, fabric.device)
        return model.compute_loss(images, model(images), settings.recon_loss_weight, settings.commitment_loss_weight)

    def validate() -> dict[str, float]:
        metrics, counts = validation_metrics(session, val_data.images)
        if counts is not None:
            session.board.codebooks(f"{AUTOENCODER}_codes", counts, session.state.step)
        return metrics

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
        half_life=half_life(settings),
        grad_clip=settings.grad_clip,
        clip_norm=settings.clip_norm,
    )
    run_phase(phase, session)
    set_ramps(whole, None)


def parameter_groups(model: CodeModel, settings: TrainingConfig) -> list[dict[str, Any]]:
    """The weights of each part with its own learning rate, as the optimiser takes them; one group if none has one."""
    parts = model.parts()
    rates = {"decoder": settings.decoder_learning_rate, "dvae": settings.dvae_learning_rate}
    if not any(rates.values()):
        return [{"params": list(model.parameters())}]
    if rates["dvae"] is None and "dvae" in parts:
        parts["decoder"] = [*parts["decoder"], *parts.pop("dvae")]
    return [
        # The dVAE learns at a constant rate, as in the official code.
        {"params": weights, "peak": rates.get(name) or settings.learning_rate, "scheduled": name != "dvae"}
        for name, weights in parts.items()
    ]


def set_ramps(model: nn.Module, settings: TrainingConfig | None, step: int = 0) -> None:
    """Sets what changes while the autoencoder learns; without `settings` as it is outside training."""
    for module in model.modules():
        if isinstance(module, SemanticVectorQuantizer):
            module.strength = ramp(step, settings.quantize_from, settings.quantize_by) if settings else 1.0
            module.bypass = settings.bypass if settings else 0.0
        elif isinstance(module, SVQDecoder):
            module.sketch_weight = float(step < settings.sketch_steps) if settings else 1.0
            module.frame_weight = ramp(step, settings.quantize_from, settings.quantize_by) if settings else 1.0
        elif isinstance(module, DVAE):
            module.tau = 1.0
            if settings:
                gumbel = settings.gumbel
                module.tau = gumbel_temperature_at(step, start=gumbel.start, end=gumbel.end, steps=gumbel.steps)


def as_images(pixels: Tensor, device: torch.device) -> Tensor:
    """Cached pixels (B, 3, H, W) uint8 → images float32 in [0, 1] on `device`, laid out for convolutions."""
    pixels = pixels.to(device, non_blocking=True)
    return pixels.to(torch.float32, memory_format=torch.channels_last).div_(255)


@torch.no_grad()
def validation_metrics(session: Session, pixels: Tensor) -> tuple[dict[str, float], Tensor | None]:
    """The terms of the loss over `pixels` (num, 3, H, W) uint8, and how often each code was used (M, K)."""
    model, settings, fabric = session.model, session.config.training, session.fabric
    model.eval()
    sums: dict[str, float] = {}
    codes = []
    with own_randomness(session.config.seed, fabric.device), fabric.autocast(), losses_only(model):
        for chunk in pixels.split(settings.batch_size):
            images = as_images(chunk, fabric.device)
            outputs = model(images)
            _, terms = model.compute_loss(images, outputs, settings.recon_loss_weight, settings.commitment_loss_weight)
            for key, value in terms.items():
                sums[key] = sums.get(key, 0.0) + value * len(chunk)
            if "codes" in outputs:
                codes.append(outputs["codes"].cpu())
    metrics = {key: value / len(pixels) for key, value in sums.items()}
    if not codes:
        return metrics, None
    counts = count_codes(torch.cat(codes), model.codebook_size)
    use = usage(counts)
    return metrics | {"perplexity": float(use.perplexity.mean()), "codes_used": float(use.share.mean())}, counts


def merged_size(model: CodeModel, settings: TrainingConfig) -> int | None:
    """How many codes a codebook is to have after the phase; None where it has no more of them anyway."""
    number = settings.merge_to
    if number is None or model.codebook is None or model.codebook_size <= number:
        return None
    return number


def merge_codes(session: Session, number: int, val_data: SceneDataset) -> None:
    """Merges codes that are alike until `number` of a codebook are left; afterwards `session.state.best` holds the
    model that has fewer, with its validation loss."""
    session.model.merge_codes(number)
    metrics, _ = validation_metrics(session, val_data.images)
    before = session.state.best["metrics"][f"{AUTOENCODER}_loss"]
    session.save_best({f"{AUTOENCODER}_{name}": value for name, value in metrics.items()})
    session.say(f"{number} codes a codebook are left; validation loss {before:.4g} before, {metrics['loss']:.4g} now")


@torch.no_grad()
def reconstruct(session: Session, pixels: Tensor) -> dict[str, Tensor]:
    """What the model makes of `pixels` (num, 3, H, W) uint8: the outputs of the model and "image", on the CPU."""
    session.model.eval()
    with own_randomness(session.config.seed, session.fabric.device), session.fabric.autocast():
        images = as_images(pixels, session.fabric.device)
        outputs = session.model(images)
    return {key: value.float().cpu() for key, value in {**outputs, "image": images}.items()}


def show_reconstructions(session: Session, pixels: Tensor) -> None:
    """Reconstructions and, of a model with slots, each slot's mask and picture, into TensorBoard."""
    if session.fabric.is_global_zero:
        shown = session.config.visualization.num_images
        seen = reconstruct(session, pixels[:shown])
        step = session.state.step
        for name, figure in scene_figures(seen, shown).items():
            session.board.figure(name, figure, step)


def scene_figures(seen: Mapping[str, Tensor], num_images: int, dpi: int = 150) -> dict[str, Figure]:
    """Pictures of what `reconstruct` gives: "reconstructions" and, of a model with slots, "masks"."""
    grid = visualization.reconstruction_grid(
        seen["image"], seen["recon"], seen.get("masks"), seen.get("slot_images"), num_images=num_images, dpi=dpi
    )
    if "masks" not in seen:
        return {"reconstructions": grid}
    masks = visualization.mask_grid(seen["image"], seen["masks"], num_images=num_images, dpi=dpi)
    return {"reconstructions": grid, "masks": masks}
