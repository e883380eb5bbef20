"""The end of a run: scores on the test split, pictures, results.json and a short printed table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..data.base import SceneDataset
from ..evaluation.report import evaluate_model
from ..utils import visualization
from ..utils.codebook_stats import count_codes
from .autoencoder import reconstruct, scene_figures
from .build import make_split, prepare
from .prior import cache_codes, draw_samples
from .results import lookup, provenance, table, write_json
from .session import Session


def finish(session: Session, train_data: SceneDataset, val_data: SceneDataset) -> dict[str, Any]:
    """Writes the pictures and results.json of the best model into the run's folder; returns the results.

    The test split is made here and used for the scores only; the pictures show validation scenes.
    """
    trained, fabric = session.seconds, session.fabric
    scores: dict[str, Any] = {}
    if session.config.evaluation.enabled:
        scores = evaluate(session, train_data)
    arrays = scores.pop("arrays", None)
    validation = session.state.best["metrics"]
    results = {
        "name": session.config.name,
        "seed": session.config.seed,
        **provenance(fabric.device, str(fabric._precision.precision), fabric.world_size),
        "seconds": {"training": round(trained, 1), "total": round(session.seconds, 1)},
        "validation": validation,
        "scores": scores,
        "objective": lookup({"validation": validation, **scores}, session.config.objective.split(".")),
        "config": session.settings,
    }
    path = write_json(session.results_path, results)
    session.scored = True
    pictures = save_pictures(session, val_data)
    if arrays is not None:
        pictures += save_score_pictures(session, arrays)
    session.say(table(results))
    session.say(f"all scores are in {path}")
    for note in scores.get("notes", []):
        session.say(f"note: {note}")
    session.say("\n".join(f"wrote {file}" for file in [session.best_path, path, *pictures]))
    return results


def evaluate(session: Session, train_data: SceneDataset) -> dict[str, Any]:
    """The scores of the best model on the test split; see `evaluate_model`."""
    options, fabric = session.config.evaluation, session.fabric
    test_data = make_split(session.config.data, "test")
    for line in prepare(test_data, show=fabric.is_global_zero):
        session.say(line)
    return evaluate_model(
        session.model,
        train_data,
        test_data,
        device=fabric.device,
        autocast=fabric.autocast(),
        batch_size=options.batch_size,
        num_generated=options.num_generated,
        temperature=options.temperature,
        top_k=options.top_k,
        seed=options.seed,
        cache_dir=options.cache_dir,
        progress=fabric.is_global_zero,
    )


def save_score_pictures(session: Session, arrays: dict[str, Any]) -> list[Path]:
    """Which block carries which factor, and the use of the codes by objects, on the test split."""
    dpi, pictures = session.config.visualization.dpi, []
    if arrays["block_factor"] is not None:
        values = [[float("nan") if value is None else value for value in row] for row in arrays["block_factor"]]
        figure = visualization.block_factor_matrix(torch.tensor(values), arrays["factors"], dpi=dpi)
        pictures.append(visualization.save_figure(figure, session.run_dir / "block_factor.png"))
    if arrays["code_counts"] is not None:
        title = "How often the objects of the test split use each code"
        figure = visualization.codebook_use(torch.tensor(arrays["code_counts"]), title=title, dpi=dpi)
        pictures.append(visualization.save_figure(figure, session.run_dir / "codebook_use_objects.png"))
    return pictures


def save_pictures(session: Session, val_data: SceneDataset) -> list[Path]:
    """Reconstructions and, where the model has them, masks, codebook use and samples of a prior, as PNG files of the
    run's folder."""
    options = session.config.visualization
    seen = reconstruct(session, val_data.images[: options.num_images])
    figures = scene_figures(seen, options.num_images, options.dpi)
    if session.model.has_codes:
        codes = cache_codes(session, val_data.images, "codes of the validation images")
        counts = count_codes(codes, session.model.codebook_size)
        figures["codebook_use"] = visualization.codebook_use(counts, dpi=options.dpi)
    if session.model.prior is not None:
        images = draw_samples(session, options.num_samples)
        figures["samples"] = visualization.sample_sheet(images, num_samples=options.num_samples, dpi=options.dpi)
    return [visualization.save_figure(figure, session.run_dir / f"{name}.png") for name, figure in figures.items()]
