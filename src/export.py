"""`python -m src.export`: encoder and decoder of a checkpoint as graphs that run without this code, and how exactly.

python -m src.export
python -m src.export checkpoint=checkpoints/best_model.pth output=exported
python -m src.export checkpoint=shapes formats=[onnx]
"""

from __future__ import annotations

from .configs.launch import command
from .configs.schema import ExportConfig


@command("export", ExportConfig)
def main(config: ExportConfig) -> None:
    from .training.exporting import write_graphs  # torch comes in here: a mistake in the config shows before

    for path in write_graphs(config):
        print(path)


if __name__ == "__main__":
    main()
