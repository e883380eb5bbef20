"""Runs notebooks/quickstart.ipynb from the first cell to the last, and keeps the pictures that its cells make.

    python -m website.notebook

What training prints is left out: it tells of the machine, not of the model.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from src.configs.arguments import Parser

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOK = PROJECT / "notebooks" / "quickstart.ipynb"
PARAMETERS = "parameters"  # tag of the cell with the settings of the training


def read() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def parameters(notebook: NotebookNode) -> NotebookNode:
    """The cell that says how long is trained, and with which settings."""
    (cell,) = (cell for cell in notebook.cells if PARAMETERS in cell.metadata.get("tags", ()))
    return cell


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Runs the cells with `folder` as the current one; their outputs are in the notebook then.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell has failed.
    """
    resources = {"metadata": {"path": str(folder)}}
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}  # where src is, whatever the folder
    NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=resources).execute(env=environment)


def tidy(notebook: NotebookNode) -> None:
    """Leaves pictures and what cells print themselves, and nothing that changes from run to run."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.execution_count = None
            progress = any(output.get("name") == "stderr" for output in cell.outputs)
            cell.outputs = [] if progress else cell.outputs
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    notebook.metadata.language_info = {"name": "python"}


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    notebook = read()
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder))
    tidy(notebook)
    nbformat.write(notebook, NOTEBOOK)
    print(f"wrote {NOTEBOOK.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
