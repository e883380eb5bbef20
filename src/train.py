"""`python -m src.train`: trains both phases, scores the model and saves pictures.

python -m src.train
python -m src.train --config-name=experiment/my_experiment
python -m src.train model.num_slots=6 training.learning_rate=0.0002
python -m src.train ablation.enabled=true
"""

from __future__ import annotations

from .configs.launch import command, invocation
from .configs.schema import TrainConfig


@command("train", TrainConfig)
def main(config: TrainConfig) -> None:
    # torch comes in here: a mistake in the config shows before
    if config.ablation.enabled:
        from .training.ablation import ablate

        ablate(config, invocation())
    else:
        from .training.run import train

        train(config, invocation())


if __name__ == "__main__":
    main()
