from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from src.configs.errors import CommandError, ConfigError
from src.models.svq_model import SVQ
from src.training.build import make_model
from src.training.checkpoint import (
    AUTOENCODER,
    FINISHED,
    LAST,
    PRIOR,
    TrainingState,
    differences,
    find_resume,
    load_checkpoint,
    restore_rng,
    rng_state,
    save_checkpoint,
    unfinished,
)

from .tiny import assert_same_weights, tiny_config


@pytest.fixture
def config() -> dict:
    return asdict(tiny_config())


@pytest.fixture
def model() -> SVQ:
    return make_model(tiny_config().model)


def test_a_checkpoint_comes_back_whole_and_rebuilds_the_model(tmp_path, model, config):
    model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    state = TrainingState(phase=PRIOR, step=7, best_loss=0.5, rng=[rng_state()], seconds=3.0)
    save_checkpoint(tmp_path / LAST, model, step=7, metrics={"loss": 0.5}, config=config, state=state)
    content = load_checkpoint(tmp_path / LAST)
    assert content["training_state"].phase == PRIOR and content["training_state"].step == 7
    assert content["config"] == config
    rebuilt = SVQ.from_checkpoint(tmp_path / LAST)
    assert_same_weights(rebuilt.state_dict(), model.state_dict())


def test_saved_weights_do_not_change_when_training_goes_on(tmp_path, model, config):
    content = save_checkpoint(tmp_path / LAST, model, step=0, metrics={}, config=config)
    before = {key: value.clone() for key, value in content["model_state_dict"].items()}
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    assert_same_weights(content["model_state_dict"], before)


def test_weights_that_nothing_would_open_are_not_written(tmp_path, model, config):
    save_checkpoint(tmp_path / LAST, model, step=0, metrics={}, config=config)
    before = (tmp_path / LAST).read_bytes()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(CommandError, match=r"step 1: NaN or infinity in .*last\.pth is left as it was"):
        save_checkpoint(tmp_path / LAST, model, step=1, metrics={}, config=config)
    assert (tmp_path / LAST).read_bytes() == before


def test_generators_go_on_where_they_were():
    state = rng_state()
    drawn = torch.rand(())
    restore_rng(state)
    assert torch.rand(()) == drawn


def test_the_generator_of_mps_goes_on_where_it_was(monkeypatch):
    restored = []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: torch.tensor([7]))
    monkeypatch.setattr(torch.mps, "set_rng_state", restored.append)
    restore_rng(rng_state())
    assert restored == [torch.tensor([7])]


MANY = ("steps", "warmup_steps", "eval_every", "batch_size")


def write(folder, model, config, **state):
    save_checkpoint(
        folder / LAST,
        model,
        step=0,
        metrics={},
        config=config,
        state=TrainingState(rng=[rng_state()], **state),
    )


def test_resume_finds_what_it_should(tmp_path, model, config):
    assert find_resume(None, tmp_path, config) is None
    assert find_resume("auto", tmp_path, config) is None
    assert unfinished(tmp_path) is None
    write(tmp_path, model, config, step=3)
    assert find_resume(None, tmp_path, config) is None
    for resume in ("auto", str(tmp_path / LAST)):
        content = find_resume(resume, tmp_path, config)
        assert content is not None and content["training_state"].step == 3
    found = unfinished(tmp_path)
    assert found is not None and found.step == 3


def test_a_finished_run_is_not_resumed(tmp_path, model, config):
    write(tmp_path, model, config, phase=FINISHED)
    assert find_resume("auto", tmp_path, config) is None
    assert unfinished(tmp_path) is None
    with pytest.raises(ConfigError, match="has finished; nothing is left"):
        find_resume(str(tmp_path / LAST), tmp_path, config)


@pytest.mark.parametrize("resume", ["auto", "path"])
def test_other_settings_are_refused_by_name(tmp_path, model, config, resume):
    write(tmp_path, model, config)
    other = asdict(tiny_config("model.num_slots=4"))
    with pytest.raises(ConfigError, match="trained with model.num_slots=3 but this run has model.num_slots=4"):
        find_resume("auto" if resume == "auto" else str(tmp_path / LAST), tmp_path, other)


def test_settings_that_differ_are_shown_with_both_values(tmp_path, model, config):
    write(tmp_path, model, config)
    two = asdict(tiny_config("seed=1", "data.image_size=32"))
    with pytest.raises(ConfigError, match="image_size=16, seed=0 but this run has data.image_size=32, seed=1: "):
        find_resume("auto", tmp_path, two)
    many = asdict(tiny_config("seed=1", "model.num_slots=4", *(f"training.{key}=1" for key in MANY)))
    with pytest.raises(ConfigError, match=r"this run has model.num_slots=4, seed=1, .* \(and 2 more\): use") as error:
        find_resume("auto", tmp_path, many)
    assert "\n" not in str(error.value)


def test_a_prior_that_was_not_begun_may_become_another(tmp_path, model, config):
    other = asdict(tiny_config("training.prior.steps=9", "training.prior.relations=true"))
    write(tmp_path, model, config, phase=AUTOENCODER)
    assert find_resume("auto", tmp_path, other) is not None
    write(tmp_path, model, config, phase=PRIOR)
    with pytest.raises(ConfigError, match="prior.relations=false, .* but this run has training.prior.relations=true, "):
        find_resume("auto", tmp_path, other)


def test_settings_that_change_only_what_is_shown_may_differ(config):
    free = asdict(
        tiny_config(
            *("name=x", "log_dir=y", "training.log_every=7", "visualization.dpi=99", "data.num_test=3"),
            *("training.resume=auto", "evaluation.seed=4"),
        )
    )
    assert differences(config, free) == {}
    named = differences(config, asdict(tiny_config("training.prior.steps=9", "seed=3")))
    assert named == {"seed": (0, 3), "training.prior.steps": (5, 9)}


def test_files_that_cannot_be_resumed_are_named(tmp_path, model, config):
    for resume, wrong in (
        (tmp_path / "nothing.pth", "does not exist"),
        ("Auto", "does not exist"),
        (" ", "names no file"),
    ):
        with pytest.raises(ConfigError, match=f"training.resume=.* {wrong}; give .*last.pth, or auto") as error:
            find_resume(str(resume), tmp_path, config)
        assert "shipped" not in str(error.value)
    save_checkpoint(tmp_path / "best.pth", model, step=0, metrics={}, config=config)
    with pytest.raises(ConfigError, match="holds a model but no training state; resume from a last.pth"):
        find_resume(str(tmp_path / "best.pth"), tmp_path, config)
    content = save_checkpoint(tmp_path / LAST, model, step=0, metrics={}, config=config, state=TrainingState())
    torch.save(content | {"model_state_dict": []}, tmp_path / LAST)
    with pytest.raises(ConfigError, match="its model_state_dict is list"):
        find_resume("auto", tmp_path, config)
    (tmp_path / LAST).write_bytes(b"broken")
    with pytest.raises(ConfigError, match="cannot be read"):
        find_resume("auto", tmp_path, config)
    assert unfinished(tmp_path) is None
