"""On the site, links lead to the pages that stand for files of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from website.hooks import address_of, file_page, first_line, led, module_pages, notebook_page


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("docs/data.md", "data.md"),
        ("README.ko.md", "korean.md"),
        ("notebooks/quickstart.ipynb", "notebook.md"),
        ("src/models/svq_model.py", "api/models/svq_model.md"),
        ("src/configs/model/base.yaml", "files/src/configs/model/base.yaml.md"),
        ("tests/test_clusters.py", "files/tests/test_clusters.py.md"),
        ("conf/ablation/variant", "files/conf/ablation/variant/index.md"),
        ("results/shapes/seed_0/samples.png", "files/results/shapes/seed_0/samples.png"),
        (".github/workflows/ci.yml", "files/github/workflows/ci.yml.md"),
    ],
)
def test_every_file_has_its_page(path: str, address: str) -> None:
    assert address_of(path) == address


def test_links_lead_to_pages_and_code_stays() -> None:
    text = (
        "[a](../src/train.py) ![b](../results/x.png) [c](evaluation.md#codes) [d](https://x.y)\n```\n[a](../b.py)\n```"
    )
    assert led(text, "data.md") == (
        "[a](api/train.md) ![b](files/results/x.png) [c](evaluation.md#codes) [d](https://x.y)\n```\n[a](../b.py)\n```"
    )
    assert led("<details>", "data.md") == '<details markdown="1">'
    assert led("[a](docs/data.md) [b](README.md)", "korean.md") == "[a](data.md) [b](index.md)"


def test_every_module_has_a_page_and_says_what_it_is() -> None:
    pages = module_pages()
    assert pages["api/models/svq_model.md"] == "src.models.svq_model"
    assert [name for name in pages.values() if not first_line(name)] == []


def test_files_are_shown() -> None:
    assert "```yaml\n# The arguments of SVQ." in file_page("src/configs/model/base.yaml")
    assert "- [`no_prior.yaml`](no_prior.yaml)" in file_page("conf/ablation/variant")


def test_a_notebook_is_shown_with_what_its_cells_left(tmp_path: Path) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(
        '{"cells": [{"cell_type": "markdown", "source": ["# A"]}, {"cell_type": "code", "source": ["1 + 1"], "outputs":'
        ' [{"output_type": "execute_result", "data": {"text/plain": ["2"]}}]}]}'
    )
    assert notebook_page(path) == "# A\n\n```python\n1 + 1\n```\n\n```text\n2\n```\n"
