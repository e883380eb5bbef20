"""Every config composes and trains; every mistake gets one line; every key is read by something."""

from __future__ import annotations

import ast
import errno
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from src import render
from src.configs import launch, schema
from src.configs.errors import ConfigError, Interrupted
from src.configs.launch import Invocation
from src.configs.schema import (
    DemoConfig,
    ExportConfig,
    GenerateConfig,
    RenderConfig,
    ReportConfig,
    ReportDataConfig,
    TrainConfig,
)
from src.configs.termination import Terminated, signal_of, terminable
from src.data import catalogue, clevr_scenes
from src.editor import serve
from src.models import backbone, slot_attention, slot_decoder, svq_model, transformer_decoder
from src.models.catalogue import MODELS
from src.reporting.run import evaluate
from src.training import finish, run, schedule
from src.training.build import check_sizes
from src.training.checkpoint import BEST, LAST, find_resume
from src.training.exporting import write_graphs
from src.training.run import train
from src.training.sampling import write_samples
from src.utils import precision

from .reporting.test_evaluate import make_small
from .training.test_ablation import STUDIES
from .training.tiny import CONFIGS, NEEDED, TINY, in_folder, tiny_config

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
ON_FILES = {"clevr_like_easy", "clevr_like_hard", "nlotm_clevr"}  # tests/training/test_clevr_like.py
DEFAULTS = {  # which experiment=default trains
    f"{group}={name}"
    for entry in yaml.safe_load((CONFIGS / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    if isinstance(entry, dict)
    for group, name in entry.items()
}
OPTIONS = sorted(
    {
        f"{path.parent.name}={path.stem}"
        for folder in (CONFIGS, ROOT / "conf")
        for path in folder.glob("*/*.yaml")
        if path.parent.name != "experiment"
    }
    - DEFAULTS
    - {f"data={name}" for name in schema.FILES}  # tests/training/test_own_images.py
    - {f"ablation={name}" for name in STUDIES}  # tests/training/test_ablation.py
)
TWO_STEPS = ("training.steps=2", "training.prior.steps=2")


def command(module: str, *words: str, cwd: Path = ROOT, timeout: int = 280) -> subprocess.CompletedProcess:
    """Runs `python -m src.<module> <words>` as a user would."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "0"}
    return subprocess.run(
        [sys.executable, "-m", f"src.{module}", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


# ------------------------------------------------------------------------------------------- composing


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_alike_as_primary_and_as_option(experiment):
    needed = NEEDED.get(f"experiment={experiment}", ())
    as_option = tiny_config(f"experiment={experiment}", *needed)
    as_primary = tiny_config(*needed, config_name=f"experiment/{experiment}")
    assert as_option == as_primary


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_sweep_over_an_experiment_looks_at_a_loss_that_it_has(experiment):
    config = tiny_config(f"experiment={experiment}", *NEEDED.get(f"experiment={experiment}", ()))
    loss = "token_loss" if config.model.decoder == "transformer" else "recon_loss"
    assert config.objective == f"validation.autoencoder_{loss}"


@pytest.mark.parametrize("words", [f"experiment={name}" for name in EXPERIMENTS if name not in ON_FILES] + OPTIONS)
def test_every_config_trains_two_steps(tmp_path, words):
    config = tiny_config(*in_folder(tmp_path), *TWO_STEPS, words, *NEEDED.get(words, ()))
    train(config, Invocation(tmp_path / "run"))
    assert (tmp_path / "checkpoints" / BEST).exists()


@pytest.mark.parametrize(
    "words",  # choices about different things share a run
    [
        ("data.background=random", "model.slot_init=learned", "model.code_dim=3", "precision=float32"),
        ("model.decoder=cnn", "model.quantize_at=every", "precision=bf16", "training.commitment_loss_weight=null"),
        ("model.slot_init=learned_noisy", "data.num_workers=1", "model.salience=false", "training.schedule=half_life"),
        ("model.inhibition=0", "training.clip_norm=max", "training.decoder_learning_rate=0.01"),
        ("model.backbone=paper", "model.implicit=false", "training.prior.style=paper"),
        ("model.decoder=transformer", "model.num_starts=1", "training.dvae_learning_rate=0.01"),
        ("model.bottleneck=none",),
        ("model.bottleneck=prototypes",),
    ],
)
def test_every_choice_trains_two_steps(tmp_path, words):
    needed = [more for word in words for more in NEEDED.get(word, ())]
    train(tiny_config(*in_folder(tmp_path), *TWO_STEPS, *words, *needed), Invocation(tmp_path / "run"))


def test_choices_and_arguments_are_those_of_the_code():
    assert catalogue.DATASETS == schema.DATASETS
    assert tuple(catalogue.DRAWN) == schema.DRAWN and (*catalogue.FILES, "clevr_like") == schema.FILES
    assert set(schema.BACKGROUNDS) == {name for kind in catalogue.DRAWN.values() for name in kind.backgrounds}
    assert tuple(clevr_scenes.VARIANTS) == schema.CLEVR_VARIANTS
    assert schema.DECODERS == slot_decoder.DECODERS
    assert schema.SLOT_INITS == slot_attention.SLOT_INITS and schema.QUANTIZE_AT == slot_attention.QUANTIZE_AT
    assert schema.BOTTLENECKS == svq_model.BOTTLENECKS and schema.BACKBONES == backbone.BACKBONES
    assert schema.PRIOR_STYLES == transformer_decoder.STYLES and schema.SCHEDULES == schedule.SCHEDULES
    assert schema.DEVICES == precision.DEVICES and schema.PRECISIONS == precision.PRECISIONS
    assert tuple(MODELS) == schema.MODELS
    arguments = {kind: list(inspect.signature(model).parameters) for kind, model in MODELS.items()}
    assert ["kind", *arguments["svq"]] == [entry.name for entry in fields(schema.ModelConfig)]
    assert all(set(of_kind) <= set(arguments["svq"]) for of_kind in arguments.values())


# -------------------------------------------------------------------------------------- nothing is idle


def leaves(kind: type, prefix: str = "") -> set[str]:
    """The dotted keys of a schema."""
    module = vars(schema)
    found: set[str] = set()
    for entry in fields(kind):
        inner = module.get(entry.type) if isinstance(entry.type, str) else entry.type
        deeper = is_dataclass(inner)
        found |= leaves(inner, f"{prefix}{entry.name}.") if deeper else {prefix + entry.name}
    return found


class Recorder:
    """Stands for a config object and notes which of its keys are looked at."""

    def __init__(self, config, prefix, seen):
        self.__dict__.update(_config=config, _prefix=prefix, _seen=seen)

    def __getattr__(self, name):
        value = getattr(self._config, name)
        if is_dataclass(value):
            return Recorder(value, f"{self._prefix}{name}.", self._seen)
        self._seen.add(self._prefix + name)
        return value


def test_every_key_is_read_by_a_run(tmp_path, monkeypatch):
    seen: set[str] = set()
    scores = {"arrays": {"block_factor": None, "code_counts": None}}
    monkeypatch.setattr(finish, "evaluate_model", lambda *_, **__: scores)
    monkeypatch.setattr("src.training.build.fields", lambda recorder: fields(recorder._config))
    # The paper's decoder has settings of its own.
    for words in ((), ("model.decoder=transformer", "model.num_starts=1", "training.schedule=half_life")):
        config = tiny_config(*in_folder(tmp_path), *TWO_STEPS, "evaluation.enabled=true", *words)
        plain = launch.plain(config)
        for module in ("run", "session"):
            monkeypatch.setattr(f"src.training.{module}.plain", lambda _, plain=plain: plain)
        train(Recorder(config, "", seen), Invocation(tmp_path / "run"))
    # Hydra itself reads what names the folder of the run.
    hydra = yaml.safe_load((CONFIGS / "config.yaml").read_text())["hydra"]
    seen |= set(re.findall(r"\$\{(\w+)\}", str(hydra)))
    rest = leaves(TrainConfig) - seen
    assert {key for key in rest if not key.startswith("ablation.")} == set()  # those: tests/training/test_ablation.py


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    train(tiny_config(*in_folder(folder), *TWO_STEPS), Invocation(folder / "run"))
    return folder / "checkpoints" / BEST


def test_every_key_is_read_by_generate(tmp_path, trained):
    seen: set[str] = set()
    words = [f"checkpoint={trained}", f"output={tmp_path}", "num_images=2", "dpi=40"]
    given = tmp_path / "given.json"
    given.write_text('{"codes": [[[0, 1], [2, 3]]]}')
    for more in ([], [f"given={given}", "keep=[0]"]):
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = launch.to_object(compose("generate", [*words, *more]), GenerateConfig)
        write_samples(Recorder(config, "", seen))
    assert leaves(GenerateConfig) - seen == set()


def test_every_key_is_read_by_evaluate(tmp_path, trained, monkeypatch):
    seen: set[str] = set()
    words = [f"checkpoint={trained}", f"output={tmp_path / 'report'}", "num_generated=2", "dpi=40"]
    words += ["sections=[generation]"]  # which reads what sections read
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = launch.to_object(compose("evaluate", [*words, f"cache_dir={tmp_path / 'cache'}"]), ReportConfig)
    make_small(monkeypatch)
    evaluate(Recorder(config, "", seen))
    assert leaves(ReportConfig) - seen == set()


def test_settings_of_a_report_s_data_are_those_of_the_data():
    known = {entry.name: entry for entry in fields(schema.DataConfig)}
    for entry in fields(ReportDataConfig):
        assert entry.metadata == known[entry.name].metadata


def test_every_key_is_read_by_render(tmp_path, capsys):
    pytest.importorskip("mitsuba")
    seen: set[str] = set()
    words = [f"output={tmp_path}", "image_size=16", "samples=1", "num_train=1", "num_val=1", "num_test=1"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = launch.to_object(compose("render", [*words, "num_workers=1"]), RenderConfig)
    inspect.unwrap(render.main)(Recorder(config, "", seen))
    assert leaves(RenderConfig) - seen == set()
    assert f"data=clevr_like data.path={tmp_path}" in capsys.readouterr().out


@pytest.mark.slow
def test_every_key_is_read_by_export(tmp_path):
    seen: set[str] = set()
    small = ["model.kind=vqvae", *in_folder(tmp_path), *TWO_STEPS]  # whose graphs are made in seconds
    train(tiny_config(*small), Invocation(tmp_path / "run"))
    words = [f"checkpoint={tmp_path / 'checkpoints' / BEST}", f"output={tmp_path}", "formats=[pt2]", "num_images=1"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = launch.to_object(compose("export", words), ExportConfig)
    write_graphs(Recorder(config, "", seen))
    assert leaves(ExportConfig) - seen == set()


def test_every_key_is_read_by_the_demo(tmp_path, monkeypatch):
    pytest.importorskip("gradio")
    seen: set[str] = set()
    train(tiny_config(*in_folder(tmp_path), *TWO_STEPS), Invocation(tmp_path / "run"))
    words = [f"checkpoint={tmp_path / 'checkpoints' / BEST}", f"cache_dir={tmp_path}", "language=ko"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = launch.to_object(compose("demo", words), DemoConfig)
    monkeypatch.setattr("gradio.Blocks.launch", lambda *_, **__: None)  # tests/editor/test_page.py serves it
    recorder = Recorder(config, "", seen)
    serve.launch(serve.open_checkpoint(recorder), recorder)
    assert leaves(DemoConfig) - seen == set()


def test_every_key_of_the_schema_has_its_default_in_a_file():
    """... and therefore, with the schema refusing all others, the files' keys are those of the schema."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        for name, kind in schema.COMMANDS.items():
            launch.to_object(compose(name), kind)  # a value that is missing raises


def test_no_default_is_written_into_the_schema():
    tree = ast.parse(Path(schema.__file__).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for node in (entry for each in classes for entry in each.body):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            assert isinstance(node.value, ast.Call) and node.value.func.id.startswith("_"), ast.unparse(node)


# --------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.name=squares", "data.name=squares is unknown; choose one of: shapes, multi_dsprites"),
        ("data.background=white", "data.background=white is unknown; choose one of: black, random"),
        ("model.decoder=mlp", "model.decoder=mlp is unknown; choose one of: cross_attention, cnn"),
        ("model.slot_init=zero", "model.slot_init=zero is unknown; choose one of: random, learned"),
        ("model.quantize_at=never", "model.quantize_at=never is unknown; choose one of: last, every"),
        ("device=tpu", "device=tpu is unknown; choose one of: auto, cpu, cuda, mps"),
        ("precision=half", "precision=half is unknown; choose one of: auto, bf16, float32"),
        ("model.num_slots=0", "model.num_slots=0 is out of range; it must be at least 1"),
        ("training.batch_size=-1", "training.batch_size=-1 is out of range"),
        ("training.learning_rate=0", "training.learning_rate=0.0 is out of range; it must be greater than 0"),
        ("training.prior.dropout=1.5", "training.prior.dropout=1.5 is out of range; it must be from 0 to 1"),
        ("data.max_shapes=9", "data.max_shapes=9 is out of range; it must be from 1 to 8"),
        ("seed=-1", "seed=-1 is out of range"),
        ("evaluation.temperature=nan", "evaluation.temperature=nan is out of range"),
        ("training.learning_rate=inf", "training.learning_rate=inf is out of range; it must be a finite number"),
        ("ablation.budget=inf", "ablation.budget=inf is out of range"),
        ("seed=99999999999999999999", "is out of range; it must be from 0 to 2147483647"),
        ("visualization.dpi=100000", "visualization.dpi=100000 is out of range; it must be from 20 to 1000"),
        ("data.image_size=100000", "data.image_size=100000 is out of range"),
        ("model.codebook_size=100000000", "model.codebook_size=100000000 is out of range"),
        ("model.image_size=32", "model.image_size=32 but data.image_size=16; set data.image_size alone"),
        ("model.in_channels=1", "model.in_channels=1 but the pictures of shapes have 3 channels"),
        ("training.quantize_from=5", "training.quantize_from=5 must not exceed training.quantize_by=3"),
        ("training.merge_to=0", "training.merge_to=0 is out of range; it must be at least 1"),
        (
            "training.batch_size=100",
            "training.batch_size=100 exceeds data.num_train=24; give at most 24 for it, or raise",
        ),
        ("training.prior.batch_size=100", "training.prior.batch_size=100 exceeds data.num_train=24"),
        (
            "data.num_train=3",
            "training.batch_size=4 and training.prior.batch_size=8 exceed data.num_train=3; give at most",
        ),
        ("training.devices=3", "training.batch_size=4 is no multiple of training.devices=3 times training.num_nodes=1"),
        (
            "training.num_nodes=8",
            "training.batch_size=4 is no multiple of training.devices=1 times training.num_nodes=8",
        ),
        ("objective=segmentation.fg_ari", "evaluation.enabled=false leaves no others"),
        ("checkpoint_dir=", "checkpoint_dir is empty; give a path, such as checkpoint_dir=checkpoint"),
        ("name=../x", "name='../x' is no name of one folder"),
        ("ablation.name=a/b", "ablation.name='a/b' is no name of one folder"),
        ("data.num_train=null", "data.num_train=null means all there is, but shapes has no end; give a number"),
        ("data.path=photos", "data.path=photos does not go with shapes, which is drawn; choose data=folder"),
        ("data=folder", "data.path is missing; say where the pictures of folder are, as data.path=<folder>"),
        ("data.cache_dir=", "data.cache_dir is empty"),
        ("+model.num_slot=3", "model.num_slot is not a setting; did you mean model.num_slots?"),
        ("+extra=1", "extra is not a setting; the config has: name, seed"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_can(override, said):
    with pytest.raises(ConfigError) as error:
        tiny_config(override)
    assert said in str(error.value)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data=sprites", "data.background=random"], "background='random' is unknown; choose one of: black, textured"),
        (["data=sprites", "data.max_shapes=2"], "max_shapes=2 is out of range; use an integer from 3 to 4"),
        (["data.background=textured"], "background='textured' is unknown; choose one of: black, random"),
    ],
)
def test_a_value_that_the_data_set_lacks_is_found_before_training(overrides, said):
    with pytest.raises(ConfigError, match=re.escape(said)) as error:
        check_sizes(tiny_config(*overrides))
    assert error.value.exit_code == 2 and "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["2", "0", "yes", "1.5", "null", "'true'", "[true]", "{}"])
def test_nothing_but_true_and_false_is_true_or_false(value):
    with pytest.raises(ConfigError, match=r"relations=.* cannot be used; give true or false"):
        tiny_config(f"training.prior.relations={value}")
    with pytest.raises(ConfigError, match=r"evaluation\.enabled=.* cannot be used; give true or false"):
        tiny_config(f"evaluation.enabled={value}")
    assert tiny_config("training.prior.relations=True").training.prior.relations is True


MISTAKES = {
    "train training.learnin_rate=1": "learnin_rate is not a setting; did you mean training.learning_rate?",
    "train model.num_slots=many": "model.num_slots=many cannot be used; give a whole number",
    "train training.merge_to=1.5": "training.merge_to=1.5 cannot be used; give a whole number",
    "train training.learning_rate=fast": "training.learning_rate=fast cannot be used; give a number",
    "train model.shading=banana": "model.shading=banana cannot be used; give true or false",
    "train training.prior.relations=2": "training.prior.relations=2 cannot be used; give true or false",
    "train training.steps=null": "training.steps: null is not allowed here",
    "train model=huge": "model=huge is unknown; choose one of: base, dvae",
    "train experiment=nothing": "experiment=nothing is unknown; choose one of: clevr_like_easy, clevr_like_hard",
    "train --config-name=nothing": "Cannot find primary config 'nothing'",
    "train --config-name=model/base num_slots=2": "begin it with `# @package _global_`",
    "train data.name=squares": "choose one of: shapes, multi_dsprites",
    "train nonsense": "'nonsense' names no setting; settings are given as key=value",
    "train --nonsense": "unrecognized arguments: --nonsense; settings are given as key=value",
    "train =3": "'=3' names no setting",
    "train data=0": "data=0 names no file of settings; give such as data=shapes",
    "train log_dir=": "log_dir is empty; give a path, such as log_dir=logs",
    "train name=a/b": "error: name='a/b' is no name of one folder; give one without slashes, such as name=svq",
    "train name=": "error: name='' is no name of one folder",
    "train ~data": "~data takes away what has to be there",
    "train --config-name=experiment/sprite": "primary config 'experiment/sprite'; did you mean experiment/sprites?",
    "train --config-name=sprites": "primary config 'sprites'; did you mean experiment/sprites?",
    "train seed=0,1 -m training.steps=2": "training.steps=2: all settings go together; put flags such as -m",
    "train ablation.enabled=true ablation.variants=[no_prio]": "fewer_iterations, no_prior; did you mean no_prior?",
    "train ablation.enabled=true ablation.seeds=[-1]": "ablation.seeds has -1, which is out of range; seeds are from 0",
    "train ablation.enabled=true ablation.folder=block": "ablation.folder=block has no variants; choose one of: blocks",
    "generate chekpoint=a": "chekpoint is not a setting; did you mean checkpoint?",
    "evaluate sections=[code]": "sections has code, which is unknown; choose one of: reconstruction, segmentation",
    "export formats=[onx]": "formats has onx, which is unknown; choose one of: pt2, onnx; did you mean onnx?",
    "generate temperature=0": "temperature=0.0 is out of range",
    "render variant=medium": "variant=medium is unknown; choose one of: easy, hard",
    "render num_train=0": "num_train=0 is out of range; it must be at least 1",
    "render num_worker=1": "num_worker is not a setting; did you mean num_workers?",
    "render output=": "output is empty; give a path, such as output=output",
}
MISTYPED = {  # of lists and names; a command says these before it does anything, so composing is enough
    "train ablation.seeds=1": "ablation.seeds=1 is no list; give 'ablation.seeds=[1]'",
    "train ablation.seeds=all": "ablation.seeds=all is no list; give 'ablation.seeds=[all]'",
    "train ablation.seeds=[1,x]": "ablation.seeds[1]=x cannot be used; give a whole number",
    "train ablation.seeds=[0.5]": "ablation.seeds[0]=0.5 cannot be used; give a whole number",
    "train ablation.seeds=0,1": "ablation.seeds=0,1 has several values; give one of them, a list as 'ablation",
    "train ablation.seeds=[0,1": "ablation.seeds=[0,1 cannot be read: a bracket lacks its other half; a list is",
    "train ablation.seeds=[0,1,]": "a place in its list is empty; give 'ablation.seeds=[a,b]', with nothing",
    "train ablation.seeds=[0,,1]": "ablation.seeds=[0,,1] cannot be read: a place in its list is empty",
    "train ablation.variants=[,]": "ablation.variants=[,] cannot be read: a place in its list is empty",
    "train ablation.variants=no_prior": "ablation.variants=no_prior is no list; give 'ablation.variants=[no_prior]'",
    "train ablation=block": "ablation=block is unknown; choose one of: blocks, codes",
    "train evaluation=[a,,b]": "evaluation=[a,,b] cannot be read: a place in its list is empty",
    "train evaluation.top_k=[1,2]": "evaluation.top_k=[1, 2] cannot be used; give a whole number",
    "train name=[a]": "name=[a] is a list; give one value, without brackets",
    "train name=a,b": "a text with commas as 'name=\"a,b\"', or begin with -m for a run of each",
    "train experiment=sprite": "sysbinder, vqvae; did you mean sprites?",
    "train experiment=": "experiment= names no file; choose one of: clevr_like_easy",
    "train experiment=sprites,": "experiment=sprites, cannot be read: it ends with a comma; leave it out",
    "train experiment=[quick,sprites]": "several of the chosen files of settings choose model; choose one of them",
    "train experiments=sprites": "experiments is not a setting; did you mean experiment?",
    "train +experiment=sprites": "experiment is chosen already; give experiment=... once, and without +",
    "train data=shape": "data=shape is unknown; choose one of: clevr, clevr_like, folder, multi_dsprites, shapes, "
    "sprites, sysbinder; did you mean shapes?",
    "train data=Shapes": "did you mean shapes?",
    "train dat=shapes": "dat is not a setting; did you mean data?",
    "train data.name=shape": "sysbinder, clevr_like; did you mean shapes?",
    "train data.path=[ab]*.jpg": "data.path=[ab]*.jpg cannot be read: some of its signs have a meaning of their own; "
    "quote the value twice, as 'data.path=\"[ab]*.jpg\"'",
    "train model.decoder=cn": "choose one of: cross_attention, cnn, transformer; did you mean cnn?",
    "train model.decoder=CNN": "did you mean cnn?",
    "train model.decoder=[cnn]": "model.decoder=[cnn] is a list; give one value, without brackets",
    "train model=bas": "did you mean base?",
    "train device=cuda:0": "device=cuda:0 is unknown; choose one of: auto, cpu, cuda, mps; did you mean cuda?",
    "train training.devices=[0,1]": "training.devices=[0, 1] cannot be used; give a whole number",
    "train objective=": "objective is empty; give the name of a number",
    "train training.prior=[1]": "training.prior is given a list or settings in braces where the other is wanted",
    "train training.learning_rate=1e-3,": "training.learning_rate=1e-3, cannot be read: it ends with a comma",
    "train training.learning_rate =1": "'training.learning_rate' names no setting; settings are given as key=value",
    "train training={steps:3": "training={steps:3 cannot be read: a bracket lacks its other half",
    "train ~model.num_slots": "~model.num_slots takes away what has to be there; give model.num_slots another value",
    "generate keep=1": "keep=1 is no list; give 'keep=[1]'",
    "generate keep=[0,1": "keep=[0,1 cannot be read: a bracket lacks its other half",
    "generate checkpoint=[a,b]": "checkpoint=[a,b] is a list; give one value, without brackets",
    "generate conditions=two red circles": "'red' names no setting; settings are given as key=value, with quotes",
    "evaluate sections=codes": "sections=codes is no list; give 'sections=[codes]'",
    "evaluate sections=[codes,]": "sections=[codes,] cannot be read: a place in its list is empty",
    "evaluate sections={a:1}": "sections is given a list or settings in braces where the other is wanted",
    "evaluate data=shapes": "data chooses no file of settings in this command; give single ones as key=value",
    "generate experiment=sprites": "experiment chooses no file of settings in this command; give single ones",
    "generate experimen=sprites": "experimen is not a setting; the config has: checkpoint, num_images",
    "train experiment.name=x": "experiment is not a setting; the config has: name, seed",
    "evaluate split=tests": "split=tests is unknown; choose one of: test, val; did you mean test?",
    "export formats=onnx": "formats=onnx is no list; give 'formats=[onnx]'",
    "render variant=eas": "did you mean easy?",
}
OUTPUTS = {  # with a file of that name
    "render output=file": "output=file is a file; give an empty",
    "render output=file/deeper": r"output=file/deeper cannot be used \(.*\); give one that",
}

# What `command` does, one line after the other in one process: starting one takes longer than what it says.
COMMANDS = """
import contextlib, io, json, os, runpy, sys

endings = {}
for number, line in enumerate(sys.argv[1:]):
    os.mkdir(str(number))
    os.chdir(str(number))
    open("file", "w").close()
    os.environ["HYDRA_FULL_ERROR"] = "0"  # which a command sets
    module, *sys.argv[1:] = line.split()
    code, errors = 0, io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            runpy.run_module(f"src.{module}", run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            code = stop.code
    folders = os.listdir("logs") if os.path.isdir("logs") else []
    endings[line] = code, errors.getvalue(), os.listdir(), folders
    os.chdir("..")
print(json.dumps(endings))
"""


@pytest.fixture(scope="module")
def endings(tmp_path_factory) -> dict[str, tuple[int, str, list[str], list[str]]]:
    """Of each of the MISTAKES and OUTPUTS the exit code, what stderr says, and what lies in the folder and in its logs/
    afterwards."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", COMMANDS, *MISTAKES, *OUTPUTS]
    folder = tmp_path_factory.mktemp("mistakes")
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_on_the_command_line_is_one_line_and_code_2(endings, line):
    code, errors, left, folders = endings[line]
    assert code == 2 and MISTAKES[line] in errors
    assert errors.count("\n") == 1 and errors.startswith("error: ")
    assert set(left) <= {"file", "logs"} and not folders  # of runs that were none


@pytest.mark.parametrize("line", MISTYPED)
def test_a_mistyped_list_or_name_is_one_line_with_what_was_meant(line):
    name, *words = line.split()
    with pytest.raises(ConfigError) as error:
        launch.compose_settings(name, words, schema.COMMANDS[name])
    assert MISTYPED[line] in str(error.value)
    assert error.value.exit_code == 2 and "\n" not in str(error.value) and "hydra.cc" not in str(error.value)


def test_a_name_in_a_file_is_named_with_the_file(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "x.yaml").write_text("# @package _global_\ndefaults: [/config, override /data: shape]\n")
    done = command("train", f"--config-dir={tmp_path}", "experiment=x", f"log_dir={tmp_path}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "data=shape is unknown; choose one of: clevr, " in done.stderr and "did you mean shapes?" in done.stderr


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = command("train", "log_dir=file", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert re.search(r"^error: (Not a directory|File exists): \S*file", done.stderr)


@pytest.mark.parametrize("line", OUTPUTS)
def test_an_output_that_cannot_be_made_is_one_line_and_code_2(endings, line):
    pytest.importorskip("mitsuba")
    code, errors, *_ = endings[line]
    assert code == 2 and re.match(f"error: {OUTPUTS[line]}", errors), errors
    assert errors.count("\n") == 1


def test_the_setting_behind_an_error_of_the_file_system_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny_config("checkpoint_dir=a/b", "log_dir=logs")
    for file in ("a", "a/b", "a/b/last.pth", tmp_path / "a" / "b"):
        error = launch.as_command_error(PermissionError(errno.EACCES, "Permission denied", str(file)), config)
        assert error.exit_code == 2
        assert (
            str(error) == f"checkpoint_dir=a/b cannot be used (Permission denied: {file}); give one that can be written"
        )
    for found in (OSError(errno.ENOSPC, "No space left", "a/b/last.pth"), OSError(errno.EACCES, "Denied", "elsewhere")):
        error = launch.as_command_error(found, config)
        assert error.exit_code == 1 and str(error) == f"{found.strerror}: {found.filename}"


def test_a_folder_for_checkpoints_that_cannot_be_made_is_found_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(run, "run_phases", None)  # nothing is trained
    with pytest.raises(OSError, match="file"):
        train(
            tiny_config(f"log_dir={tmp_path}", f"checkpoint_dir={tmp_path / 'file' / 'deeper'}"), Invocation(tmp_path)
        )


@pytest.mark.parametrize("asked", [True, False], ids=["by the user", "by the first of several processes"])
def test_the_whole_traceback_on_demand(tmp_path, asked):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "1"}
    environment.pop(launch.OURS, None)
    environment |= {} if asked else {launch.OURS: "1"}  # as the second process of a training gets it
    words = [sys.executable, "-m", "src.train", "data.name=squares", f"log_dir={tmp_path}"]
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == (1 if asked else 2) and ("Traceback" in done.stderr) == asked
    assert "data.name=squares is unknown" in done.stderr


def test_a_file_without_the_package_line_is_explained(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "forgot.yaml").write_text("defaults: [/config, _self_]\nname: forgot\n")
    done = command("train", f"--config-dir={tmp_path}", "experiment=forgot", f"log_dir={tmp_path}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "begin a file of experiment/ with `# @package _global_`" in done.stderr


@pytest.mark.parametrize(("content", "said"), [(b"training: {steps: 3", "line 2"), (b"name: \xff", "save it as UTF-8")])
def test_a_file_of_settings_that_is_none_is_one_line(tmp_path, content, said):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "torn.yaml").write_bytes(b"# @package _global_\n" + content)
    done = command("train", f"--config-dir={tmp_path}", "experiment=torn", f"log_dir={tmp_path}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and said in done.stderr


def test_a_mistake_shows_before_torch_is_imported():
    commands = "src.train, src.generate, src.evaluate, src.render, src.export, src.demo"
    code = f"import sys; import {commands}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("module", ["train", "generate"])
def test_cuda_without_cuda_is_one_line(tmp_path, module, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as on a machine that has none
    where = [f"log_dir={tmp_path}", f"checkpoint_dir={tmp_path}"] if module == "train" else []
    done = command(module, "device=cuda", *where)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "device=cuda is not available here" in done.stderr


# --------------------------------------------------------------------------------- the brief's commands


def test_the_briefs_command_lines_compose():
    overridden = tiny_config("model.num_slots=6", "training.learning_rate=0.0002")
    assert (overridden.model.num_slots, overridden.training.learning_rate) == (6, 0.0002)
    assert tiny_config(config_name="experiment/my_experiment").name == "my_experiment"
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        plain = launch.to_object(compose("train"), TrainConfig)
        assert launch.to_object(compose("train", ["device=cuda"]), TrainConfig).device == "cuda"
    assert plain.checkpoint_dir == "checkpoints" and plain.log_dir == "logs"


def test_training_then_generating_from_any_folder(tmp_path):
    words = [word for word in (*TINY, *TWO_STEPS) if not word.startswith("model.num_slots")]
    done = command("train", "--config-name=experiment/my_experiment", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote checkpoints/best_model.pth" in done.stdout
    (run,) = (tmp_path / "logs" / "my_experiment").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}", run.name)
    files = {path.name for path in run.iterdir()}
    assert {"results.json", "reconstructions.png", "samples.png", "train.log", ".hydra"} <= files
    assert any(name.startswith("events.out.tfevents") for name in files)

    done = command("generate", "num_images=3", "device=cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(Path("samples") / name) for name in ("images.png", "codes.json")]
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "logs", "samples"}


@pytest.mark.slow
def test_a_multirun_keeps_its_runs_apart(tmp_path):
    done = command("train", "--multirun", "seed=0,1", *TINY, *TWO_STEPS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = sorted(path.relative_to(tmp_path).parts[3] for path in tmp_path.rglob(BEST))
    assert found == ["0_svq", "1_svq"]
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.slow
def test_two_processes_train_from_the_command_line(tmp_path):
    done = command("train", "training.devices=2", *TINY, *TWO_STEPS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "logs" / "svq").iterdir()
    assert {"results.json", "samples.png"} <= {path.name for path in run.iterdir()}
    assert done.stdout.count("wrote checkpoints/best_model.pth") == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    words = [*TINY, "training.steps=100000", "training.prior.steps=0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "src.train", *words]
    run = subprocess.Popen(line, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while not (tmp_path / "checkpoints" / LAST).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=100)
    assert run.returncode == 130
    assert "Traceback" not in errors
    last_line = errors.strip().splitlines()[-1]
    said = re.match(r"stopped after step (\d+) of 100000 \(autoencoder\); everything is saved", last_line)
    assert said is not None, last_line

    program, *words = shlex.split(last_line.split("Go on with: python -m ")[1])
    assert program == "src.train" and words[-1] == "training.resume=auto"
    config = tiny_config(*words, *in_folder(tmp_path))
    found = find_resume("auto", tmp_path / "checkpoints", launch.plain(config))
    assert found is not None and found["training_state"].step == int(said[1])


def start(folder: Path, *words: str) -> tuple[subprocess.Popen, Path]:
    """`python -m src.train <words>`, started in a process group of its own, and the file that gets its stderr."""
    said = folder / "stderr.txt"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "0"}
    with said.open("w") as file:
        line = [sys.executable, "-m", "src.train", *words]
        return subprocess.Popen(line, cwd=folder, env=environment, stderr=file, start_new_session=True), said


def wait_for(words: str, said: Path, run: subprocess.Popen) -> None:
    deadline = time.monotonic() + 200
    while words not in said.read_text() and time.monotonic() < deadline:
        assert run.poll() is None, said.read_text()
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_processes_that_are_stopped_while_one_scores_say_one_line(tmp_path, number):
    run, said = start(tmp_path, "training.devices=2", *TINY, *TWO_STEPS, "evaluation.enabled=true")
    wait_for("attribute network:", said, run)
    os.killpg(run.pid, number)
    assert run.wait(100) == 128 + number
    errors = said.read_text()
    assert "Traceback" not in errors and errors.count("stopped while the trained model was scored") == 1
    assert "Go on with: python -m src.train training.devices=2" in errors.strip().splitlines()[-1]
    assert not list(tmp_path.rglob("results.json")) and not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_ends_all_runs_of_a_multirun(tmp_path):
    run, said = start(tmp_path, "-m", "seed=0,1", *TINY, "training.steps=100000", "training.prior.steps=0")
    wait_for("autoencoder:", said, run)
    run.send_signal(signal.SIGINT)
    assert run.wait(100) == 130
    errors = said.read_text()
    (folder,) = tmp_path.glob("logs/multirun/*/*_svq")  # the second was not begun
    last_line = errors.strip().splitlines()[-1]
    assert "Traceback" not in errors and last_line.startswith("stopped after step")
    assert last_line.endswith(f"checkpoint_dir={folder / 'checkpoints'} training.resume=auto")
    assert "seed=0" in last_line


def test_a_job_of_its_own_tells_the_process_that_waits_for_it_that_it_was_stopped(monkeypatch):
    def main(config: TrainConfig) -> float:
        raise Interrupted("stopped", signal.SIGTERM)

    tasks = []
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv(launch.OURS, "1")
    monkeypatch.setattr(sys, "argv", ["train"])
    monkeypatch.setattr(launch.hydra, "main", lambda **_: lambda task: lambda: tasks.append(task))
    launch.command("train", TrainConfig)(main)()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose("train")
    with pytest.raises(SystemExit, match="143"):
        tasks[0](composed)
    monkeypatch.setattr(launch.os, "getpid", lambda: -1)  # as in a job that a launcher of Hydra has started
    with pytest.raises(Interrupted, match="stopped"):
        tasks[0](composed)


def test_sigterm_is_raised_where_a_command_runs_and_only_there():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as stopped, terminable():
        signal.raise_signal(signal.SIGTERM)
    assert signal_of(stopped.value) == 15 and signal_of(KeyboardInterrupt()) == 2
    assert signal.getsignal(signal.SIGTERM) is before

    def enter() -> bool:
        with terminable():
            return signal.getsignal(signal.SIGTERM) is before

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result()  # Python takes handlers in the main thread alone
