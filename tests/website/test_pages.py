"""No page has a link, a command, an option or a piece of Python that does not work."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from matplotlib import pyplot as plt

from src.configs.schema import TrainConfig
from src.data.toy_datasets import ShapesDataset
from src.models.catalogue import MODELS
from src.models.svq_model import SVQ
from src.training.checkpoint import save_checkpoint

from ..test_configs import leaves
from .options import check_settings, complaint, unknown_settings
from .pages import PAGES, PROJECT, anchors, blocks, broken_links, commands, inline_code, missing_names, read

NEEDS_PROCESSES = {"docs/clusters.md"}  # whose Python tests/test_clusters.py runs in two processes
WITH_PYTHON = [page for page in PAGES if page.startswith("docs/") and blocks(read(page), "python")]
KEYS = leaves(TrainConfig)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert broken_links(page, read(page)) == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_understood(page: str) -> None:
    assert [said for words in commands(read(page)) if (said := complaint(words))] == []


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_are_named_exist(page: str) -> None:
    assert list(unknown_settings(inline_code(read(page)), KEYS)) == []


@pytest.mark.parametrize("page", PAGES)
def test_python_imports_what_exists(page: str) -> None:
    text = read(page)
    lines = [words[words.index("-c") + 1] for words in commands(text) if "-c" in words and words[0] == "python"]
    assert [name for code in [*blocks(text, "python"), *lines] for name in missing_names(code)] == []


@pytest.mark.parametrize("page", [page for page in WITH_PYTHON if page not in NEEDS_PROCESSES])
def test_python_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One piece after the other, where a small training has left its files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("src.models.catalogue.MODELS", MODELS)
    monkeypatch.setitem(MODELS, "svq", SVQ)  # whatever a page adds is gone afterwards
    torch.manual_seed(0)
    model = SVQ(num_slots=3, slot_size=16, num_codebooks=2, codebook_size=8, code_dim=8, hidden_dim=8)
    model.init_prior(embed_dim=8, num_heads=1, num_layers=1)
    save_checkpoint(Path("checkpoints/best_model.pth"), model, step=0, metrics={}, config={})
    results = {"seed": 0, "scores": {"segmentation": {"fg_ari": 0.5}}, "config": {"training": {"steps": 1}}}
    for folder in ("logs/svq/now", "photos"):
        Path(folder).mkdir(parents=True)
    Path("logs/svq/now/results.json").write_text(json.dumps(results))
    for number, image in enumerate(ShapesDataset(num_samples=6, image_size=32).images):
        plt.imsave(f"photos/{number}.png", image.permute(1, 2, 0).numpy())
    before, names = set(MODELS), {"__name__": "__main__"}
    try:
        for code in blocks(read(page), "python"):
            exec(compile(code, page, "exec"), names)
    finally:
        for added in set(MODELS) - before:
            del MODELS[added]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(read(page), "yaml")])
def test_yaml_is_an_experiment(page: str) -> None:
    for code in blocks(read(page), "yaml"):
        assert code.startswith("# @package _global_\n")
        written = yaml.safe_load(code)
        chosen = [each for each in written.pop("defaults") if isinstance(each, dict)]
        words = [f"{group.removeprefix('override /')}={name}" for each in chosen for group, name in each.items()]
        check_settings("train", [*words, *_flat(written)])


def _flat(settings: dict, prefix: str = "") -> list[str]:
    words = []
    for key, value in settings.items():
        words += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}={value}"]
    return words


# ------------------------------------------------------------------------- what these tests would find


def test_a_broken_link_is_found() -> None:
    text = "# A page\n[a](#a-page) [b](#other) [c](docs/none.md) [d](docs/data.md#the-rule) [e](docs/data.md#no-rule)"
    assert broken_links("README.md", text) == ["#other", "docs/none.md", "docs/data.md#no-rule"]


def test_anchors_are_those_of_github() -> None:
    text = '# `python -m src.train`, again\n## A, *b*\n## A, b\n```bash\n# a comment\n```\n<a id="x.y"></a>\n'
    assert anchors(text) == {"python--m-srctrain-again", "a-b", "a-b-1", "x.y"}


def test_commands_are_taken_apart() -> None:
    text = "```bash\npip install x && python -m src.train a=1 \\\n    b='c d' # why\n```\n`python -m src.generate\nx=1`"
    assert commands(text) == [
        ["pip", "install", "x"],
        ["python", "-m", "src.train", "a=1", "b=c d"],
        ["python", "-m", "src.generate", "x=1"],
    ]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python -m src.trian", "no module src.trian"),
        ("python -m src.train model.num_slot=3", "num_slot"),
        ("python -m src.train model.num_slots=0", "out of range"),
        ("python -m src.train experiment=none", "none"),
        ("python -m src.train seed=0,1", "a sweep needs -m"),
        ("python -m src.train -m seed=0,-1", "seed=-1 is out of range"),
        ("python -m src.train -m hydra/sweeper=none", "hydra/sweeper"),
        ("torchrun --nproc-per-node=2 -m src.train training.device=2", "device"),
        ("svq-generate number=3", "number"),
        ("python -m src.convert_official one.pt", "2"),
        ("python -m benchmarks.speed --rows x", "2"),
        ("python -m benchmarks.default_runs --name x data.names=x", "names"),
        ("python -m pytest tests/none.py", "no file tests/none.py"),
        ("pip install -e '.[none]'", "no extra none"),
        ("make none", "no target none"),
    ],
)
def test_a_command_with_a_mistake_is_found(command: str, said: str) -> None:
    found = complaint(shlex.split(command))
    assert found is not None and said in found.removeprefix(command)


def test_a_setting_that_is_none_is_found() -> None:
    inline = ["training.step", "training.prior", "model.encode", "model.slots=3", "data=none", "data=folder", "x=1"]
    assert list(unknown_settings(inline, KEYS)) == ["training.step", "model.slots=3", "data=none"]


def test_names_that_do_not_exist_are_found() -> None:
    assert list(missing_names("from src.models.svq_model import SVQ, SVG")) == ["src.models.svq_model.SVG"]
    with pytest.raises(SyntaxError):
        list(missing_names("from src import"))


def test_there_are_pages_to_check() -> None:
    assert {"README.md", "README.ko.md", "docs/own_parts.md", "docs/configuration.md"} <= set(PAGES)
    assert sum(len(commands(read(page))) for page in PAGES) > 100
    assert (PROJECT / "mkdocs.yml").exists()
