"""`python -m src.evaluate` from end to end at a tiny size, and everything that it refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from src.configs import launch
from src.configs.errors import ConfigError, Interrupted
from src.configs.launch import plain
from src.configs.schema import ReportConfig
from src.configs.termination import Terminated
from src.evaluation import attribute_training, disentanglement, prior_details
from src.evaluation.report import evaluate_model
from src.models.code_model import CodeModel
from src.reporting.checkpoints import Checkpoint, find, labels, open_checkpoints
from src.reporting.report import make_report, trained_on
from src.reporting.run import evaluate
from src.reporting.sections import SECTIONS
from src.training.build import make_model, make_split
from src.training.checkpoint import save_checkpoint
from src.utils.precision import autocast

from ..data.files import write_pictures
from ..training.tiny import CONFIGS, tiny_config
from .test_html_page import assert_self_contained

SMALL = {
    attribute_training: {
        **{"PLACEMENTS": 32, "EXAMPLES": 128, "BATCH": 16, "STEPS": 2, "TEST_SCENES": 16, "TEST_PER_KIND": 4},
    },
    prior_details: {"CONDITIONS": {1: 2, 2: 1}, "SCENES": 2, "CONDITION_PARTICLES": 64, "SCENE_PARTICLES": 32},
    disentanglement: {"TREES": 5},
}
OBJECTS = ("segmentation", "readout", "blocks", "codebooks")


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of few numbers, so that it takes little time."""
    for module, sizes in SMALL.items():
        for name, value in sizes.items():
            monkeypatch.setattr(module, name, value)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def trained(path: Path, *words: str, seed: int = 0, prior: bool = True, config: dict[str, Any] | None = None) -> Path:
    """A checkpoint as a run of these settings would leave it, but for the training."""
    settings = tiny_config(f"seed={seed}", *words)
    torch.manual_seed(seed)
    model = make_model(settings.model)
    if prior and model.has_codes:
        model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    save_checkpoint(path, model, step=6, metrics={}, config=plain(settings) if config is None else config)
    return path


def settings(tmp_path: Path, *words: str) -> ReportConfig:
    given = [f"output={tmp_path / 'out'}", f"cache_dir={tmp_path / 'cache'}", "device=cpu", "dpi=40"]
    given += ["num_generated=6", "precision=float32", *words]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return launch.to_object(compose("evaluate", given), ReportConfig)


def report(tmp_path: Path, *words: str) -> tuple[dict[str, Any], str]:
    """The report's JSON and its page."""
    paths = evaluate(settings(tmp_path, *words))
    assert all(path.exists() for path in paths)
    folder = tmp_path / "out"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert_self_contained(page)
    return json.loads((folder / "report.json").read_text(encoding="utf-8")), page


def test_a_report_has_the_scores_that_training_has(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = trained(tmp_path / "shapes" / "seed_0" / "best_model.pth")
    found, page = report(tmp_path, f"checkpoint={path}")
    config = tiny_config()
    train_data, test_data = make_split(config.data, "train"), make_split(config.data, "test")
    expected = evaluate_model(
        CodeModel.from_checkpoint(path),
        train_data,
        test_data,
        autocast=autocast("float32", "cpu"),
        batch_size=64,
        num_generated=6,
        cache_dir=tmp_path / "cache",
        progress=False,
    )
    for name in ("reconstruction", "prior", "generation", "attribute_network", *OBJECTS):
        assert found["scores"][name] == json.loads(json.dumps(expected[name])), name
    assert found["name"] == "shapes_seed_0" and found["checkpoint"] == "best_model.pth" and found["step"] == 6
    assert found["path"] == "shapes/seed_0/best_model.pth"  # it lies elsewhere
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() and found["sha256"] in page
    assert found["checkpoint_commit"] == found["commit"]  # that of this test
    assert found["evaluation"]["sections"] == [section.name for section in SECTIONS]
    assert found["config"]["model"]["num_slots"] == 3 and found["data"]["name"] == "shapes"
    assert {"commit", "hardware", "torch", "seconds", "notes", "evaluation"} <= found.keys()
    assert str(tmp_path) not in json.dumps(found) and str(tmp_path) not in page
    for section in SECTIONS:
        assert f'<section id="{section.name}">' in page
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert {"reconstructions.png", "samples.png"} <= set(pictures)
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert all(f"({name})" in text for name in pictures)
    said = capsys.readouterr().out
    assert all(section.title in said for section in SECTIONS) and f"wrote {tmp_path / 'out' / 'report.html'}" in said


def test_sections_can_be_left_out_and_then_no_judge_is_trained(tmp_path: Path) -> None:
    path = trained(tmp_path / "model.pth")
    found, page = report(tmp_path, f"checkpoint={path}", "sections=[codes,segmentation]")
    assert [key for key in found["scores"] if "details" not in key] == [
        "segmentation",
        "readout",
        "blocks",
        "codebooks",
    ]
    assert "attribute_network" not in found["seconds"] and 'id="generation"' not in page
    assert not (tmp_path / "cache").exists()


def test_a_section_without_a_number_says_why(tmp_path: Path) -> None:
    path = trained(tmp_path / "model.pth")
    words = ("sections=[codes]", "data.num_test=1", "data.max_shapes=1")
    found, page = report(tmp_path, f"checkpoint={path}", *words)
    assert found["scores"]["readout"] is None
    assert "Not measured. codes: too few matched objects" in page


def test_a_reason_stands_in_its_section_and_only_there(tmp_path: Path) -> None:
    path = trained(tmp_path / "model.pth")
    found, page = report(tmp_path, f"checkpoint={path}", "sections=[segmentation,codes]")
    (note,) = [note for note in found["notes"] if "matched objects to test" in note]
    assert page.count(note) == 1
    assert page.index('<section id="codes">') < page.index(note) and 'id="notes"' not in page


def test_a_model_without_a_prior_is_told_and_the_rest_is_there(tmp_path: Path) -> None:
    path = trained(tmp_path / "model.pth", prior=False)
    found, page = report(tmp_path, f"checkpoint={path}", "sections=[segmentation,prior]")
    assert found["scores"]["prior"] is None and found["scores"]["segmentation"] is not None
    (note,) = [note for note in found["notes"] if note.startswith("prior")]
    assert f"Not measured. {note.split(' (')[0]}" in page


@pytest.mark.parametrize("kind", ["vqvae", "dvae"])
def test_a_model_without_slots(tmp_path: Path, kind: str) -> None:
    path = trained(tmp_path / "model.pth", f"model={kind}")
    found, _ = report(tmp_path, f"checkpoint={path}")
    assert all(found["scores"][name] is None for name in OBJECTS)
    assert found["scores"]["reconstruction"]["mse"] > 0 and found["scores"]["prior"]["canonical"] > 0
    assert any("no slots to compare" in note for note in found["notes"])


def test_data_without_ground_truth(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_pictures(photos, 60)
    path = trained(tmp_path / "model.pth", "data=folder", f"data.path={photos}", f"data.cache_dir={tmp_path / 'cache'}")
    found, page = report(tmp_path, f"checkpoint={path}")
    assert all(found["scores"][name] is None for name in (*OBJECTS, "generation", "attribute_network"))
    assert found["scores"]["reconstruction"]["psnr"] > 0 and found["data"]["path"] == "photos"
    assert str(tmp_path) not in page
    # nobody judges scenes, and yet they are drawn, shown and paid for
    assert {"samples.png", "temperatures.png"} <= {file.name for file in (tmp_path / "out").glob("*.png")}
    assert all(row["bits_per_code"] > 0 and row["accuracy"] is None for row in found["scores"]["temperatures"])
    assert found["scores"]["samples"]["accuracy"] is None and "bits a code" in page
    assert "Not judged: no attribute network knows scenes of folder" in page and "Not measured. judge: no attr" in page
    assert any(note.startswith("generation: no attribute network judges") for note in found["notes"])
    assert "a folder of pictures" in page and "background black" not in page  # what no such picture has
    # moved elsewhere
    shutil.move(photos, tmp_path / "moved")
    with pytest.raises(ConfigError, match=r"photos.*data\.path=<folder> says where its pictures are now"):
        report(tmp_path, f"checkpoint={path}")
    words = (f"checkpoint={path}", f"data.path={tmp_path / 'moved'}", "sections=[reconstruction]")
    assert report(tmp_path, *words)[0]["scores"]["reconstruction"] == found["scores"]["reconstruction"]


def test_other_pictures_than_it_was_trained_on(tmp_path: Path) -> None:
    path = trained(tmp_path / "model.pth")
    (opened,) = open_checkpoints(settings(tmp_path, f"checkpoint={path}", "data.num_test=3", "data.background=random"))
    assert (opened.data.num_test, opened.data.background, opened.data.max_shapes) == (3, "random", 3)
    assert opened.trained_on is not None and opened.trained_on.background == "black"
    (opened,) = open_checkpoints(settings(tmp_path, f"checkpoint={path}", "data.name=sprites"))
    assert (opened.data.name, opened.data.max_shapes, opened.data.image_size) == ("sprites", 4, 16)


def test_what_it_was_trained_on_is_that_of_its_own_settings(tmp_path: Path) -> None:
    path = trained(tmp_path / "model.pth")
    own = tiny_config().data
    for word, same in (("data.num_test=3", True), ("data.num_train=7", False), ("data.name=sprites", False)):
        (opened,) = open_checkpoints(settings(tmp_path, f"checkpoint={path}", word))
        shown = make_split(opened.data, "train")
        learned = trained_on(opened, shown)
        assert learned is not None and (learned.name, len(learned)) == ("shapes", own.num_train)
        assert (learned is shown) == same  # described once
    converted = trained(tmp_path / "converted.pth", config={"converted_from": "nlotm.pt"})
    (opened,) = open_checkpoints(settings(tmp_path, f"checkpoint={converted}", "data.name=shapes"))
    assert opened.trained_on is None and trained_on(opened, shown) is None


def test_a_checkpoint_that_does_not_say_what_it_was_trained_on(tmp_path: Path) -> None:
    path = trained(tmp_path / "converted.pth", config={"converted_from": "nlotm.pt"})
    with pytest.raises(ConfigError, match=r"does not say which data it was trained on; give data\.name"):
        report(tmp_path, f"checkpoint={path}")
    words = (
        f"checkpoint={path}",
        "data.name=shapes",
        "data.num_train=20",
        "data.num_test=6",
        "sections=[segmentation]",
    )
    found, _ = report(tmp_path, *words)
    assert found["data"]["num_test"] == 6 and found["data"]["image_size"] == 16 and found["seed"] is None
    assert any(note.startswith("segmentation: few scenes (6), so the numbers are rough") for note in found["notes"])


def test_the_validation_split_can_be_looked_at(tmp_path: Path) -> None:
    path = trained(tmp_path / "model.pth", "data.num_val=5")
    found, _ = report(tmp_path, f"checkpoint={path}", "split=val", "sections=[reconstruction]", "data.num_test=1")
    assert found["split"] == "val" and found["scores"]["reconstruction"]["n"] == 5


@pytest.mark.slow
def test_several_checkpoints_get_a_report_each_and_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name, words in (("full", ()), ("small", ("model.num_slots=2",))):
        for seed in (0, 1):
            trained(tmp_path / "runs" / name / f"seed_{seed}" / "best_model.pth", *words, seed=seed)
    evaluate(settings(tmp_path, f"checkpoint={tmp_path / 'runs'}", "sections=[reconstruction,segmentation]"))
    folder = tmp_path / "out"
    assert {path.parent.name for path in folder.glob("*/report.html")} == {
        *("full_seed_0", "full_seed_1", "small_seed_0", "small_seed_1"),
    }
    content = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert {name: [run["seed"] for run in runs] for name, runs in content["groups"].items()} == {
        "full": [0, 1],
        "small": [0, 1],
    }
    assert content["headline"]["mIoU"]["small"]["difference"]["n"] == 2
    assert_self_contained((folder / "comparison.html").read_text(encoding="utf-8"), folder)
    assert "| mIoU |" in (folder / "comparison.md").read_text(encoding="utf-8")
    assert (folder / "comparison.png").exists() and "mean ± std | full | small" in capsys.readouterr().out


def test_stopped_it_says_which_reports_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(trained(tmp_path / f"{seed}" / "best_model.pth", seed=seed)) for seed in (0, 1)]
    made: list[int] = []

    def make_report(*_: Any) -> tuple[dict[str, Any], Any]:
        if made:
            raise Terminated
        made.append(1)
        return {}, None

    monkeypatch.setattr("src.reporting.run.make_report", make_report)
    monkeypatch.setattr("src.reporting.run.write_report", lambda *_: [])
    said = f"stopped; 1 of 2 reports are in {tmp_path / 'out'}; the same command goes on from there"
    with pytest.raises(Interrupted, match=said) as stopped:
        report(tmp_path, f"checkpoint=[{','.join(paths)}]", f"output={tmp_path / 'out'}")
    assert stopped.value.exit_code == 143
    with pytest.raises(Interrupted, match="stopped; no report was written; the same command starts anew"):
        report(tmp_path, f"checkpoint={paths[0]}")


def test_a_stopped_comparison_goes_on_with_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [str(trained(tmp_path / f"{seed}" / "best_model.pth", seed=seed)) for seed in (0, 1)]
    words = [f"checkpoint=[{','.join(paths)}]", "sections=[segmentation]", "output=null"]
    made: list[str] = []

    def stopping(checkpoint: Checkpoint, *rest: Any) -> Any:
        if len(made) == most:
            raise Terminated
        made.append(checkpoint.label)
        return make_report(checkpoint, *rest)

    monkeypatch.setattr("src.reporting.run.make_report", stopping)
    most = 1
    with pytest.raises(Interrupted, match="1 of 2 reports are in evaluation/comparison"):
        evaluate(settings(tmp_path, *words))
    first = json.loads(Path("evaluation/comparison/0/report.json").read_text(encoding="utf-8"))
    most = 2
    found = evaluate(settings(tmp_path, *words))
    assert made == ["0", "1"] and "its report is in evaluation/comparison/0, of the same" in capsys.readouterr().out
    assert {Path("evaluation/comparison") / name for name in ("0/report.html", "1/report.html", "comparison.html")} <= {
        *found
    }
    content = json.loads(Path("evaluation/comparison/comparison.json").read_text(encoding="utf-8"))
    (group,) = content["groups"].values()
    assert group[0]["sha256"] == first["sha256"] and len(group) == 2
    most = 4  # it ended, so once more means all anew, in its place
    evaluate(settings(tmp_path, *words))
    assert made == ["0", "1", "0", "1"] and not Path("evaluation/comparison_2").exists()


def test_an_earlier_report_stays_and_the_same_one_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "checkpoints" / "best_model.pth")

    def made(*words: str) -> Path:
        return evaluate(settings(tmp_path, "checkpoint=checkpoints", "output=null", "sections=[segmentation]", *words))[
            0
        ].parent

    first, second = Path("evaluation/svq"), Path("evaluation/svq_2")
    assert made() == first
    assert json.loads((first / "report.json").read_text(encoding="utf-8"))["path"] == "checkpoints/best_model.pth"
    capsys.readouterr()
    assert made("split=val") == second
    assert f"{first} holds a report of other settings (split); this one goes to {second}" in capsys.readouterr().out
    assert made() == first and made("split=val") == second
    trained(tmp_path / "checkpoints" / "best_model.pth", seed=1)  # another run of the same name
    assert made() == Path("evaluation/svq_3")
    assert made(f"output={first}") == first
    assert f"output={first} holds an earlier report, which is replaced" in capsys.readouterr().out


def test_that_a_judge_is_trained_is_said_before(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = trained(tmp_path / "model.pth")
    words = (f"checkpoint={path}", "sections=[reconstruction,codes]")
    report(tmp_path, *words)
    said = capsys.readouterr().out
    assert "no attribute network comes along for these scenes (shapes, up to 3 objects, black background" in said
    assert "reconstruction asks it, sections=[codes] do without" in said
    report(tmp_path, *words)  # now there is one
    report(tmp_path, f"checkpoint={path}", "sections=[codes]")
    assert "attribute network" not in capsys.readouterr().out


def test_what_does_not_compare_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    one, two = trained(tmp_path / "a.pth"), trained(tmp_path / "b.pth", "data.background=random")
    with pytest.raises(ConfigError, match=r"has data\.background=black and \S*b\.pth has random.*do not compare"):
        evaluate(settings(tmp_path, f"checkpoint=[{one},{two}]"))
    assert not (tmp_path / "out").exists()
    again = trained(tmp_path / "c.pth")
    with pytest.raises(ConfigError, match=r"same settings and the same seed, 0: give only one"):
        evaluate(settings(tmp_path, f"checkpoint=[{one},{again}]"))


def test_checkpoints_are_found_by_path_folder_pattern_and_list(tmp_path: Path) -> None:
    paths = [tmp_path / name / "best_model.pth" for name in ("a", "b")]
    for path in (*paths, tmp_path / "b" / "last.pth", tmp_path / "c" / "one.pth"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert find(str(paths[0])) == [paths[0]] and find([str(path) for path in paths]) == paths
    assert find(str(tmp_path)) == paths  # and no last.pth
    assert find(str(tmp_path / "c")) == [tmp_path / "c" / "one.pth"]
    assert find(str(tmp_path / "*" / "best_model.pth")) == paths
    for name in ("config.json", "model.safetensors"):
        for folder in ("seed_0", "seed_1"):
            (tmp_path / "saved" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "saved" / folder / name).touch()
    assert find(str(tmp_path / "saved")) == [tmp_path / "saved" / "seed_0", tmp_path / "saved" / "seed_1"]


def test_a_checkpoint_that_is_named_twice_is_looked_at_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = trained(tmp_path / "model.pth")
    assert len(open_checkpoints(settings(tmp_path, f"checkpoint=[{path},{path}]"))) == 1
    assert f"note: checkpoint names {path} more than once; it is looked at once" in capsys.readouterr().out


def test_a_report_on_a_shipped_model_and_on_a_folder_of_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.utils.pretrained.SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    path = trained(tmp_path / "checkpoints" / "best_model.pth", seed=3)
    for folder in (tmp_path / "shipped" / "tiny", tmp_path / "mine"):
        CodeModel.from_checkpoint(path).save_pretrained(folder)
    found = open_checkpoints(settings(tmp_path, "checkpoint=[checkpoints,tiny,mine]"))
    assert [each.label for each in found] == ["svq", "tiny", "mine"]
    assert all((each.seed, each.step, each.data) == (3, 6, found[0].data) for each in found)
    assert str(found[1].path) == "tiny"  # as it was asked for, not where it lies
    scores = report(tmp_path, "checkpoint=tiny", "sections=[reconstruction]")[0]
    assert scores["checkpoint"] == "tiny" and scores["seed"] == 3


def test_every_checkpoint_has_a_name_of_its_own() -> None:
    named = {
        "runs/shapes/seed_1/best_model.pth": "shapes_seed_1",
        "checkpoints/best_model.pth": "svq",
        "checkpoints/tiny/last.pth": "tiny",
        "some/where/model<script>.pth": "model_script_",
        "else/where/model<script>.pth": "model_script__2",
    }
    assert labels([Path(path) for path in named], [{"config": {"name": "svq"}}] * 5) == list(named.values())
    runs = [Path(f"multirun/{number}_svq/checkpoints/best_model.pth") for number in range(4)]
    settings_of = [{"config": {"name": "svq", "seed": seed}} for seed in (0, 1, 1, 2)]
    assert labels(runs, settings_of) == ["svq_seed_0", "svq_seed_1", "svq_seed_1_2", "svq_seed_2"]
    assert labels(runs[:1], settings_of[:1]) == ["svq"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good checkpoint, and what is none."""
    folder = tmp_path_factory.mktemp("files")
    whole = trained(folder / "good.pth").read_bytes()
    (folder / "half.pth").write_bytes(whole[: len(whole) // 2])
    torch.save({"state_dict": {}}, folder / "foreign.pth")
    (folder / "empty").mkdir()
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["checkpoint={tmp}/missing.pth"], "missing.pth does not exist; train one"),
        (["checkpoint={tmp}/foreign.pth"], "was not written by this project"),
        (["checkpoint={tmp}/half.pth"], "truncated, damaged or not a checkpoint"),
        (["checkpoint={tmp}/empty"], "is a folder without checkpoints (no best_model.pth"),
        (["checkpoint={tmp}/x*.pth"], "matches no file"),
        (["checkpoint=null"], "checkpoint=None cannot be used; give the path of a file"),
        (["checkpoint=[]"], "checkpoint=[] cannot be used"),
        (["checkpoint=''"], "checkpoint= cannot be used"),
        (
            ["checkpoint={tmp}/good.pth", "sections=[segmentatoin]"],
            "sections has segmentatoin, which is unknown",
        ),
        (["checkpoint={tmp}/good.pth", "sections=[]"], "sections=[] leaves nothing to look at"),
        (["checkpoint={tmp}/good.pth", "output={tmp}/good.pth"], "good.pth is a file; give a folder"),
        (["checkpoint={tmp}/good.pth", "data.name=folder"], "data.path is missing"),
        (
            ["checkpoint={tmp}/good.pth", "data.path=photos"],
            "data.path=photos does not go with shapes, which is drawn; choose data.name=folder",
        ),
        (["checkpoint=shape"], "shape does not exist; train one with `python -m src.train`, or give the name of a"),
        (["checkpoint=shape"], "; did you mean shapes?"),
        (["checkpoint={tmp}/good.pth", "data.max_shapes=9"], "data.max_shapes=9 is out of range"),
        (["checkpoint={tmp}/good.pth", "data.name=sprites", "data.max_shapes=2"], "max_shapes=2 is out of range"),
        (["split=train"], "split=train is unknown; choose one of: test, val"),
        (["num_generated=0"], "num_generated=0 is out of range; it must be at least 1"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, files: Path, words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        evaluate(settings(tmp_path, *(word.format(tmp=files) for word in words)))
    assert said in str(error.value)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
