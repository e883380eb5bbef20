"""`python -m src.train`: trains both phases, scores the model and saves pictures.

python -m src.train
python -m src.train --config-name=experiment/my_experiment
python -m src.train model.num_slots=6 training.learning_rate=0.0002
"""

from __future__ import annotations

from .configs.launch import command, invocation
from .configs.schema import TrainConfig


@command("train", TrainConfig)
def main(config: TrainConfig) -> None:
    from .training.run import train  # torch comes in here: a mistake in the config shows before

    train(config, invocation())


if __name__ == "__main__":
    main()
