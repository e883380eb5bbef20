"""`python -m src.evaluate`: what a trained model can do, as one report: numbers, pictures and a page to send around.

python -m src.evaluate
python -m src.evaluate checkpoint=checkpoints/shapes/seed_0/best_model.pth output=report
python -m src.evaluate checkpoint=checkpoints/shapes                       # all seeds, and how they compare
python -m src.evaluate checkpoint=[a/best_model.pth,b/best_model.pth] sections=[segmentation,codes]
"""

from __future__ import annotations

from .configs.launch import command
from .configs.schema import ReportConfig


@command("evaluate", ReportConfig)
def main(config: ReportConfig) -> None:
    from .reporting.run import evaluate  # torch comes in here: a mistake in the config shows before

    evaluate(config)


if __name__ == "__main__":
    main()
