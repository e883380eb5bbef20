from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.configs.errors import CommandError, ConfigError
from src.configs.launch import Invocation
from src.models.catalogue import make_model
from src.models.code_model import CodeModel
from src.models.svq_model import SVQ
from src.training import finish, run
from src.training.autoencoder import set_ramps
from src.training.checkpoint import BEST, FINISHED, LAST, load_checkpoint
from src.training.run import train

from .tiny import assert_same_weights, in_folder, tiny_config, weights


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with a finished run: `checkpoints` and `run`."""
    folder = tmp_path_factory.mktemp("finished")
    shown = ("training.image_every=3", "training.checkpoint_every=2", "visualization.num_images=2")
    train(tiny_config(*in_folder(folder), *shown), Invocation(folder / "run"))
    return folder


@pytest.fixture
def no_pictures(monkeypatch) -> None:
    """Of tests that do not look at those of a run's end, which take longer than its steps."""
    monkeypatch.setattr(finish, "save_pictures", lambda *_: [])


def test_results_tell_what_made_them(finished):
    results = json.loads((finished / "run" / "results.json").read_text())
    assert results["seed"] == 0 and results["torch"] == torch.__version__ and results["hardware"]
    assert results["config"]["model"]["num_slots"] == 3
    assert results["seconds"]["total"] >= results["seconds"]["training"] > 0
    assert {"commit", "precision", "scores", "validation"} <= results.keys()
    assert {"autoencoder_recon_loss", "prior_bits_per_code"} <= results["validation"].keys()


def test_pictures_are_saved(finished):
    for name in ("reconstructions", "masks", "codebook_use", "samples"):
        assert (finished / "run" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "pictures"),
    [
        (["model=vqvae"], {"reconstructions", "codebook_use", "samples"}),
        (["model=dvae", "model.vocab_size=16"], {"reconstructions", "codebook_use", "samples"}),
        (["model.bottleneck=none", "training.prior.steps=0"], {"reconstructions", "masks"}),
    ],
)
def test_models_without_slots_or_codes_show_what_they_have(tmp_path, words, pictures, caplog):
    caplog.set_level("INFO")
    train(tiny_config(*in_folder(tmp_path), "training.image_every=6", *words), Invocation(tmp_path / "run"))
    assert {path.stem for path in (tmp_path / "run").glob("*.png")} == pictures
    tags = EventAccumulator(str(tmp_path / "run")).Reload().Tags()
    assert set(tags["images"]) == pictures - {"codebook_use"}
    histograms = {"autoencoder_codes/block_1/codes"} if "codebook_use" in pictures else set()
    assert set(tags["histograms"]) == histograms
    for name in (BEST, LAST):
        model = CodeModel.from_checkpoint(tmp_path / "checkpoints" / name)
        assert (model.prior is not None) == ("samples" in pictures)
    kind = {"model=vqvae": "vqvae", "model=dvae": "dvae"}.get(words[0])
    said = [line for line in caplog.messages if "and no others" in line]
    assert [line.split(" reads ")[0] for line in said] == ([f"of the settings model.*, kind={kind}"] if kind else [])


def test_the_temperature_of_the_tokens_falls_while_the_autoencoder_learns():
    model = make_model("dvae", {"image_size": 16, "vocab_size": 8})
    settings = tiny_config("training.gumbel.start=2", "training.gumbel.end=0.5", "training.gumbel.steps=10").training
    seen = []
    for step in (0, 5, 10, 20):
        set_ramps(model, settings, step)
        seen.append(model.dvae.tau)
    assert seen == pytest.approx([2.0, 1.25, 0.5, 0.5])
    set_ramps(model, None)
    assert model.dvae.tau == 1.0


def test_tensorboard_shows_scalars_pictures_and_codebooks(finished):
    events = EventAccumulator(str(finished / "run")).Reload()
    tags = events.Tags()
    assert {"autoencoder/recon_loss", "autoencoder/val_recon_loss", "autoencoder/learning_rate"} <= set(tags["scalars"])
    assert {"prior/bits_per_code", "prior/val_bits_per_code"} <= set(tags["scalars"])
    blocks = [f"autoencoder_codes/block_{block}" for block in (1, 2)]
    assert {f"{block}/{value}" for block in blocks for value in ("perplexity", "share_used")} <= set(tags["scalars"])
    assert {f"{block}/codes" for block in blocks} == set(tags["histograms"])
    assert {"reconstructions", "masks", "samples"} == set(tags["images"])
    assert [event.step for event in events.Scalars("autoencoder/loss")] == [2, 4, 6]
    assert [event.step for event in events.Scalars("autoencoder/val_loss")] == [3, 6]


def test_both_files_rebuild_the_model_and_the_run_is_finished(finished):
    best, last = (SVQ.from_checkpoint(finished / "checkpoints" / name) for name in (BEST, LAST))
    assert_same_weights(best.state_dict(), last.state_dict())
    assert best.generate(2).shape == (2, 3, 16, 16)
    state = load_checkpoint(finished / "checkpoints" / LAST)["training_state"]
    assert state.phase == FINISHED and not state.optimizer


def test_the_best_model_is_the_one_with_the_smallest_validation_loss(tmp_path, monkeypatch, no_pictures):
    from src.training import autoencoder, prior

    losses = iter([3.0, 1.0, 2.0, 5.0, 4.0, 6.0])  # after steps 2, 4, 6, then 2, 4, 5 of the prior
    seen = {}

    def fake_autoencoder(session, pixels):
        loss = next(losses)
        seen[loss] = {key: value.clone() for key, value in session.model.state_dict().items()}
        return {"loss": loss}, torch.ones(2, 8, dtype=torch.int64)

    def fake_prior(session, module, codes):
        loss = next(losses)
        seen[loss] = {key: value.clone() for key, value in session.model.state_dict().items()}
        return loss

    monkeypatch.setattr(autoencoder, "validation_metrics", fake_autoencoder)
    monkeypatch.setattr(prior, "validation_nll", fake_prior)
    train(tiny_config(*in_folder(tmp_path), "training.eval_every=2"), Invocation(tmp_path / "run"))
    best = weights(tmp_path / "checkpoints" / BEST)
    assert_same_weights({k: v for k, v in best.items() if not k.startswith("prior.")}, seen[1.0])
    assert_same_weights(best, seen[4.0])


def test_same_seed_same_weights_and_another_seed_others(finished, tmp_path, no_pictures):
    train(tiny_config(*in_folder(tmp_path / "a")), Invocation(tmp_path / "a"))
    train(tiny_config(*in_folder(tmp_path / "b"), "seed=1"), Invocation(tmp_path / "b"))
    first, same, other = (weights(p / "checkpoints" / LAST) for p in (finished, tmp_path / "a", tmp_path / "b"))
    assert_same_weights(first, same)
    assert not torch.equal(first["prior.begin"], other["prior.begin"])


def test_what_is_shown_and_saved_does_not_change_what_is_learned(finished, tmp_path):
    shown = ("training.log_every=1", "training.image_every=1", "training.checkpoint_every=1")
    train(tiny_config(*in_folder(tmp_path), *shown, "visualization.num_images=1"), Invocation(tmp_path))
    assert_same_weights(weights(tmp_path / "checkpoints" / LAST), weights(finished / "checkpoints" / LAST))


def test_what_training_turned_down_is_back_at_the_end(tmp_path, monkeypatch):
    sessions = []
    monkeypatch.setattr(run, "finish", lambda session, *_: sessions.append(session) or {})
    train(tiny_config(*in_folder(tmp_path), "training.bypass=0.5", "training.prior.steps=0"), Invocation(tmp_path))
    model = sessions[0].model
    assert (model.quantizer.strength, model.quantizer.bypass) == (1.0, 0.0)
    assert (model.decoder.sketch_weight, model.decoder.frame_weight) == (1.0, 1.0)


def test_without_a_prior(tmp_path):
    results = train(tiny_config(*in_folder(tmp_path), "training.prior.steps=0"), Invocation(tmp_path / "run"))
    assert not any(key.startswith("prior") for key in results["validation"])
    assert not (tmp_path / "run" / "samples.png").exists()
    assert SVQ.from_checkpoint(tmp_path / "checkpoints" / BEST).prior is None


@pytest.mark.parametrize("phase", ["autoencoder", "prior"])
def test_a_nan_stops_says_when_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch, phase):
    from src.training import autoencoder, loop

    calls, saved = 0, {}
    original = loop.clip_gradients

    def poisoned(fabric, running):
        nonlocal calls
        calls += running.name == phase
        if running.name == phase and calls == 4:
            saved.update({name: (tmp_path / "checkpoints" / name).read_bytes() for name in (BEST, LAST)})
            next(running.model.parameters()).grad.fill_(float("nan"))
        return original(fabric, running)

    assert autoencoder.run_phase is loop.run_phase
    monkeypatch.setattr(loop, "clip_gradients", poisoned)
    with pytest.raises(CommandError, match=rf"step 4 of [56] \({phase}\): .*nan.*last\.pth is from before") as stop:
        train(tiny_config(*in_folder(tmp_path), "training.checkpoint_every=2"), Invocation(tmp_path / "run"))
    assert stop.value.exit_code == 1 and "\n" not in str(stop.value)
    for name, content in saved.items():
        assert (tmp_path / "checkpoints" / name).read_bytes() == content


def test_a_learning_rate_far_too_high_ends_in_that_line_too(tmp_path):
    config = tiny_config(*in_folder(tmp_path), "training.learning_rate=1e30", "training.warmup_steps=0")
    with pytest.raises(CommandError, match="training stopped at step [1-6] of 6"):
        train(config, Invocation(tmp_path / "run"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.num_codebooks=3", "num_codebooks"),
        ("data.num_train=3", "training.batch_size=4 and training.prior.batch_size=8 exceed data.num_train=3"),
        ("data.image_size=18", "image_size"),
        ("training.prior.num_heads=3", "num_heads"),
        ("training.prior.batch_size=25", "training.prior.batch_size=25 exceeds data.num_train=24"),
    ],
)
def test_sizes_that_do_not_fit_are_said_before_training_starts(tmp_path, override, said):
    with pytest.raises(ConfigError, match=said):
        train(tiny_config(*in_folder(tmp_path), override), Invocation(tmp_path / "run"))
    assert not (tmp_path / "checkpoints").exists()


def test_a_new_run_says_what_it_replaces(tmp_path, finished, caplog, no_pictures):
    caplog.set_level("INFO")
    train(tiny_config(f"log_dir={tmp_path}", f"checkpoint_dir={finished / 'checkpoints'}"), Invocation(tmp_path))
    assert f"starting anew: {finished / 'checkpoints' / BEST} will be replaced" in caplog.text


def test_runs_of_a_multirun_keep_their_checkpoints(tmp_path, no_pictures):
    train(tiny_config(*in_folder(tmp_path)), Invocation(tmp_path / "job_0", own_checkpoints=True))
    assert (tmp_path / "job_0" / "checkpoints" / BEST).exists()
    assert not (tmp_path / "checkpoints").exists()
    with pytest.raises(ConfigError, match="training.devices=2 does not go with --multirun or an ablation"):
        train(tiny_config("training.devices=2"), Invocation(tmp_path / "job_1", own_checkpoints=True))


def test_no_draft_is_left_behind(finished):
    assert sorted(os.listdir(finished / "checkpoints")) == [BEST, LAST]


def test_scores_reach_the_file_the_table_and_the_pictures(tmp_path, monkeypatch, caplog, no_pictures):
    asked = {}

    def fake_scores(model, train_data, test_data, **options):
        asked.update(options, split=test_data.split, training=model.training)
        arrays = {"block_factor": [[0.5, None], [0.1, 0.9]], "factors": ["colour", "x"], "code_counts": [[3, 1]] * 2}
        scores = {
            "reconstruction": {"mse": 0.001234567},
            "segmentation": {"fg_ari": None, "matched": {"share": 0.5, "n": 8}},
            "generation": {"share": 0.914, "low": 0.9},
            "attribute_network": {"steps": 2000},
            "prior": None,
        }
        return {**scores, "notes": ["x has one value only"], "arrays": arrays}

    caplog.set_level("INFO")
    monkeypatch.setattr(finish, "evaluate_model", fake_scores)
    config = tiny_config(*in_folder(tmp_path), "evaluation.enabled=true", "evaluation.top_k=5")
    train(config, Invocation(tmp_path / "run"))
    assert asked["split"] == "test" and asked["top_k"] == 5 and asked["training"] is False
    assert asked["cache_dir"] == str(tmp_path / "logs" / "cache")
    scores = json.loads((tmp_path / "run" / "results.json").read_text())["scores"]
    assert scores["segmentation"]["matched"] == {"share": 0.5, "n": 8} and "arrays" not in scores
    table = {" ".join(line.split()) for line in caplog.text.splitlines()}
    assert {"reconstruction MSE 0.0012", "well-formed generated scenes, % 91.4"} <= table
    assert not any(line.startswith(("FG-ARI", "prior, bits")) or "2000" in line for line in table)  # none, or no matter
    assert f"all scores are in {tmp_path / 'run' / 'results.json'}" in caplog.text
    assert "note: x has one value only" in caplog.text
    for name in ("block_factor", "codebook_use_objects"):
        assert f"wrote {tmp_path / 'run' / name}.png" in caplog.text
        assert (tmp_path / "run" / f"{name}.png").exists()
