"""The end of a run: scores on the test split, pictures, results.json and one printed table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..data.toy_datasets import ToyDataset
from ..utils import visualization
from .autoencoder import reconstruct, validation_metrics
from .prior import draw_samples
from .results import provenance, table, write_json
from .session import Session


def finish(session: Session, train_data: ToyDataset, val_data: ToyDataset) -> dict[str, Any]:
    """Writes the pictures and results.json of the best model into the run's folder; returns the results.

    The test split is made here and used for the scores only; the pictures show validation scenes.
    """
    trained = session.seconds
    pictures = save_pictures(session, val_data)
    scores: dict[str, Any] = {}
    if session.config.evaluation.enabled:
        scores, more = evaluate(session, train_data)
        pictures += more
    results = {
        "name": session.config.name,
        "seed": session.config.seed,
        **provenance(session.fabric),
        "seconds": {"training": round(trained, 1), "total": round(session.seconds, 1)},
        "validation": session.state.best["metrics"],
        "scores": scores,
        "config": session.settings,
    }
    path = write_json(session.run_dir / "results.json", results)
    session.say(table({"validation": results["validation"], **scores, "seconds": results["seconds"]}))
    session.say("\n".join(f"wrote {file}" for file in [session.best_path, path, *pictures]))
    return results


def save_pictures(session: Session, val_data: ToyDataset) -> list[Path]:
    """Reconstructions, masks, codebook use and, with a prior, samples, as PNG files of the run's folder."""
    options = session.config.visualization
    seen = reconstruct(session, val_data.images[: options.num_images])
    _, counts = validation_metrics(session, val_data.images)
    figures = {
        "reconstructions": visualization.reconstruction_grid(
            seen["image"],
            seen["recon"],
            seen["masks"],
            seen["slot_images"],
            num_images=options.num_images,
            dpi=options.dpi,
        ),
        "masks": visualization.mask_grid(
            seen["image"], seen["masks"], num_images=options.num_images, dpi=options.dpi
        ),
        "codebook_use": visualization.codebook_use(counts, dpi=options.dpi),
    }
    if session.model.prior is not None:
        images = draw_samples(session, options.num_samples)
        figures["samples"] = visualization.sample_sheet(
            images, num_samples=options.num_samples, dpi=options.dpi
        )
    return [
        visualization.save_figure(figure, session.run_dir / f"{name}.png", options.dpi)
        for name, figure in figures.items()
    ]
