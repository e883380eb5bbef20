"""The ablation study: which runs it makes, that it goes on where it stopped, and what it says of them."""

from __future__ import annotations

import csv
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from src.configs import variants
from src.configs.errors import ConfigError, Interrupted
from src.configs.launch import Invocation, compose_config
from src.configs.schema import AblationConfig, TrainConfig
from src.configs.variants import FULL, make_variants, variant_files, with_budget
from src.training import ablation, finish
from src.training.ablation import MEASURES, ablate
from src.training.build import check_sizes

from .tiny import in_folder, tiny_config

STUDY = ("ablation.enabled=true", "ablation.budget=0.5", "model.num_iterations=2", "evaluation.enabled=true")
STUDIES = ("blocks", "codes", "decoder", "quantize_at", "slot_init")
NAMES = ["cnn_decoder", "fewer_codebooks", "fewer_iterations", "no_prior"]


def study_config(folder: Path, *words: str) -> TrainConfig:
    return tiny_config(*in_folder(folder), *STUDY, *words)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The runs that were made, in order, without their pictures; scores that depend on the model stand for the
    evaluation."""
    runs = []

    def scores(model, *_, **__):
        ari = 0.1 * len(list(model.parameters())) % 1
        generation = {"share": 0.5} if model.prior else None
        arrays = {"block_factor": None, "code_counts": None}
        return {"segmentation": {"fg_ari": ari}, "generation": generation, "arrays": arrays}

    def recorded(config, call):
        runs.append((call.run_dir.parent.name, config.seed))
        return train(config, call)

    train = ablation.train
    monkeypatch.setattr(finish, "evaluate_model", scores)
    monkeypatch.setattr(finish, "save_pictures", lambda *_: [])
    monkeypatch.setattr(ablation, "train", recorded)
    return runs


# ------------------------------------------------------------------------------------------- variants


def test_the_files_are_the_variants() -> None:
    assert list(variant_files("variant")) == NAMES


def test_variants_of_a_number_come_in_its_order() -> None:
    assert list(variant_files("blocks")) == ["1_block", "2_blocks", "4_blocks", "8_blocks"]
    assert list(variant_files("codes")) == ["16_codes", "64_codes", "512_codes"]


def test_a_folder_without_variants_is_named_with_those_that_have_some() -> None:
    with pytest.raises(ConfigError, match="ablation.folder=block has no variants; choose one of: .*variant"):
        variant_files("block")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_variants_that_can_be_built(name: str) -> None:
    study = compose_config([f"ablation={name}"])
    assert study.ablation.enabled and study.ablation.name == name and len(study.ablation.seeds) == 3
    for variant in make_variants(study).values():
        check_sizes(variant)


def test_a_variant_differs_from_the_full_model_in_what_its_file_says(tmp_path: Path) -> None:
    found = make_variants(study_config(tmp_path))
    full = found.pop(FULL)
    assert list(found) == NAMES
    assert found["cnn_decoder"] == replace(full, model=replace(full.model, decoder="cnn"))
    assert found["fewer_iterations"] == replace(full, model=replace(full.model, num_iterations=1))
    assert found["fewer_codebooks"] == replace(full, model=replace(full.model, num_codebooks=1))
    assert found["no_prior"].training.prior.steps == 0 and found["no_prior"].model == full.model


def test_the_budget_shrinks_every_count_of_steps_alike(tmp_path: Path) -> None:
    shown = ("training.image_every=3", "training.checkpoint_every=2")
    config = tiny_config(*in_folder(tmp_path), *shown, "training.sketch_steps=0", "ablation.budget=0.5")
    short = with_budget(config).training
    assert (short.steps, short.prior.steps) == (3, 2)  # round(2.5) is 2
    assert (short.warmup_steps, short.quantize_from, short.quantize_by, short.sketch_steps) == (1, 1, 2, 0)
    assert (short.eval_every, short.image_every, short.checkpoint_every) == (2, 2, 1)
    assert short.half_life == config.training.half_life // 2
    assert short.gumbel == replace(config.training.gumbel, steps=config.training.gumbel.steps // 2)
    assert short.learning_rate == config.training.learning_rate


def test_a_user_adds_a_variant_by_adding_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ablation" / "variant"
    folder.mkdir(parents=True)
    (folder / "two_slots.yaml").write_text("model:\n  num_slots: 2\n")
    monkeypatch.setattr(variants, "conf_folder", lambda: tmp_path)
    assert make_variants(study_config(tmp_path))["two_slots"].model.num_slots == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model:\n  num_slot: 2\n", "num_slot is not a setting; did you mean model.num_slots?"),
        ("model:\n  num_slots: many\n", "num_slots"),
        ("model:\n  num_slots: 0\n", "model.num_slots=0 is out of range; it must be at least 1"),
        ("model: [\n", "mine.yaml"),
        ("name: caf\xe9\n", "can't decode"),
        ("seed: 7\n", "sets seed, which the study sets itself"),
        ("evaluation:\n  enabled: false\n", "sets evaluation.enabled=false"),
        ("training:\n  quantize_from: 9\n", "training.quantize_from=9 must not exceed training.quantize_by=3"),
        ("model:\n  num_slots: 3\n", "changes nothing"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch, text: str, said: str) -> None:
    folder = tmp_path / "ablation" / "variant"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(text, encoding="latin-1")
    monkeypatch.setattr(variants, "conf_folder", lambda: tmp_path)
    with pytest.raises(ConfigError) as error:
        make_variants(study_config(tmp_path))
    assert said in str(error.value) and "mine.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["ablation.variants=[cnn]"],
            f"ablation.variants has cnn, which is unknown; choose one of: {', '.join(NAMES)}",
        ),
        (["ablation.seeds=[]"], "ablation.seeds=[] cannot be used; give at least one seed"),
        (["ablation.seeds=[1,1]"], "ablation.seeds=[1, 1] cannot be used"),
        (["ablation.seeds=[-1]"], "ablation.seeds has -1, which is out of range"),
        (["evaluation.enabled=false"], "evaluation.enabled=false leaves nothing to compare"),
        (["model.num_iterations=1"], "changes nothing"),
    ],
)
def test_a_study_that_cannot_be_made(tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        ablate(study_config(tmp_path, *words), Invocation(tmp_path / "run"))
    assert said in str(error.value)


def test_a_budget_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="ablation.budget=0.0 is out of range"):
        tiny_config("ablation.budget=0")


# ------------------------------------------------------------------------------------------- the study


@pytest.mark.slow
def test_a_study_leaves_tables_and_a_figure(tmp_path: Path, made, capsys) -> None:
    config = study_config(tmp_path, "ablation.variants=[no_prior,cnn_decoder]", "ablation.seeds=[3,5]")
    folder = ablate(config, Invocation(tmp_path / "run"))
    assert folder == tmp_path / "logs" / "ablation" / "default"
    assert made == [(name, seed) for seed in (3, 5) for name in (FULL, "no_prior", "cnn_decoder")]
    assert (folder / "ablation.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((folder / "ablation.csv").open()))
    assert len(rows) == 3 * len(MEASURES)
    content = json.loads((folder / "ablation.json").read_text())
    assert content["seeds"] == [3, 5] and content["values"]["well-formed samples, %"][FULL] == [50.0, 50.0]
    assert content["compared"]["well-formed samples, %"]["no_prior"]["difference"] is None
    text = (folder / "ablation.md").read_text()
    assert "|  | full | no_prior | cnn_decoder |" in text and "+0.0 [+0.0, +0.0]" in text
    assert text in capsys.readouterr().out
    for seed in (3, 5):
        results = json.loads((folder / "cnn_decoder" / f"seed_{seed}" / "results.json").read_text())
        assert results["seed"] == seed and results["config"]["model"]["decoder"] == "cnn"
        assert results["config"]["training"]["steps"] == 3


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped(tmp_path: Path, made, monkeypatch: pytest.MonkeyPatch) -> None:
    config = study_config(tmp_path, "ablation.variants=[no_prior]", "ablation.seeds=[0,1]")
    recorded = ablation.train

    def interrupted(config, call):
        if len(made) == 2:
            raise Interrupted("stopped")
        return recorded(config, call)

    monkeypatch.setattr(ablation, "train", interrupted)
    with pytest.raises(Interrupted):
        ablate(config, Invocation(tmp_path / "run"))
    monkeypatch.setattr(ablation, "train", recorded)
    ablate(config, Invocation(tmp_path / "run"))
    assert made == [(FULL, 0), ("no_prior", 0), (FULL, 1), ("no_prior", 1)]  # none twice
    more = study_config(tmp_path, "ablation.variants=[no_prior]", "ablation.seeds=[0,1,2]")
    ablate(more, Invocation(tmp_path / "run"))
    assert made[4:] == [(FULL, 2), ("no_prior", 2)]


@pytest.mark.slow
def test_a_run_that_is_stopped_while_pictures_are_drawn_is_ended_by_the_next_call(tmp_path, made, monkeypatch) -> None:
    def stopped(*_):
        raise KeyboardInterrupt

    config = study_config(tmp_path, "ablation.variants=[]", "ablation.seeds=[0]")
    drawn = finish.save_pictures
    monkeypatch.setattr(finish, "save_pictures", stopped)
    with pytest.raises(Interrupted, match="while pictures were drawn"):
        ablate(config, Invocation(tmp_path / "run"))
    monkeypatch.setattr(finish, "save_pictures", drawn)
    for _ in range(2):
        ablate(config, Invocation(tmp_path / "run"))
    assert made == [(FULL, 0)] * 2


def test_sizes_that_do_not_fit_are_found_before_the_first_run(tmp_path: Path, made, monkeypatch) -> None:
    folder = tmp_path / "ablation" / "variant"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("model:\n  num_codebooks: 3\n")
    monkeypatch.setattr(variants, "conf_folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match=r"mine.yaml: .*num_codebooks"):
        ablate(study_config(tmp_path), Invocation(tmp_path / "run"))
    assert made == []


def test_runs_and_scores_of_other_settings_are_not_mixed_in(tmp_path: Path, made) -> None:
    words = ("ablation.variants=[]", "ablation.seeds=[0]")
    folder = ablate(study_config(tmp_path, *words), Invocation(tmp_path / "run"))
    for key, old, new in (
        ("evaluation.num_generated", "1000", "3"),
        ("data.num_test", "8", "5"),
        ("training.learning_rate", "0.001", "0.01"),
    ):
        with pytest.raises(ConfigError, match=f"was made with {key}={old} but the study now has {key}={new}"):
            ablate(study_config(tmp_path, *words, f"{key}={new}"), Invocation(tmp_path / "run"))
    (folder / FULL / "seed_0" / "results.json").write_text('{"scores": {')
    with pytest.raises(ConfigError, match=r"results.json cannot be read .*; remove it, and the run is made again"):
        ablate(study_config(tmp_path, *words), Invocation(tmp_path / "run"))


def test_every_key_of_the_study_is_read(tmp_path: Path, made) -> None:
    seen: set[str] = set()

    class Watched(AblationConfig):
        def __getattribute__(self, name: str) -> object:
            seen.add(name)
            return super().__getattribute__(name)

    config = study_config(tmp_path)
    ablate(
        replace(config, ablation=Watched(enabled=True, seeds=[0], budget=0.5, variants=[], folder="variant", name="x")),
        Invocation(tmp_path),
    )
    assert {entry.name for entry in fields(AblationConfig)} - seen <= {"enabled"}  # which src.train reads
