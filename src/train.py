"""`python -m src.train`: trains both phases, scores the model and saves pictures.

python -m src.train
python -m src.train --config-name=experiment/my_experiment
python -m src.train model.num_slots=6 training.learning_rate=0.0002
python -m src.train ablation.enabled=true
python -m src.train -m hydra/sweeper=svq_optuna
"""

from __future__ import annotations

from .configs.errors import ConfigError
from .configs.launch import command, invocation
from .configs.schema import TrainConfig


@command("train", TrainConfig)
def main(config: TrainConfig) -> float | None:
    """Trains as `config` says. Returns its objective, for the sweeper of a multirun.

    Raises:
        ConfigError: a run of a multirun has no such number; other runs need none.
    """
    # torch comes in here: a mistake in the config shows before
    call = invocation()
    if config.ablation.enabled:
        from .training.ablation import ablate

        ablate(config, call)
        return None

    from .training.run import train

    value = train(config, call)["objective"]
    if value is None and call.own_checkpoints:
        raise ConfigError(
            f"objective={config.objective} is no number in results.json of this run; give one of its names, such as "
            "validation.autoencoder_loss or segmentation.fg_ari"
        )
    return value


if __name__ == "__main__":
    main()
