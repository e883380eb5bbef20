"""`python -m src.demo`: a page on this machine where a scene is edited by its codes.

python -m src.demo
python -m src.demo checkpoint=checkpoints/best_model.pth language=ko port=8000
"""

from __future__ import annotations

from .configs.launch import command
from .configs.schema import DemoConfig


@command("demo", DemoConfig)
def main(config: DemoConfig) -> None:
    from .editor.serve import run_demo  # torch comes in here: a mistake in the config shows before

    run_demo(config)


if __name__ == "__main__":
    main()
