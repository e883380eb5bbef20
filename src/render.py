"""`python -m src.render`: CLEVR-like 3D scenes, path traced into a folder that `data=clevr_like` trains on.

python -m src.render
python -m src.render variant=hard image_size=128 num_train=10000 output=data/clevr_hard_128
"""

from __future__ import annotations

from .configs.launch import command
from .configs.schema import RenderConfig


@command("render", RenderConfig)
def main(config: RenderConfig) -> None:
    from concurrent.futures.process import BrokenProcessPool
    from pathlib import Path

    from .configs.errors import CommandError, Interrupted, as_config_error
    from .configs.termination import signal_of
    from .data.clevr_like import save_preview
    from .data.render_run import render_scenes

    try:
        with as_config_error():
            render_scenes(
                Path(config.output),
                variant=config.variant,
                image_size=config.image_size,
                samples=config.samples,
                counts={"train": config.num_train, "val": config.num_val, "test": config.num_test},
                seed=config.seed,
                workers=config.num_workers,
            )
    except BrokenProcessPool as error:
        raise CommandError(f"a worker was killed; the same command goes on from {config.output}") from error
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped; the same command goes on from {config.output}", signal_of(error)) from error
    print(save_preview(config.output))
    print(f"train on it with: python -m src.train data=clevr_like data.path={config.output}")


if __name__ == "__main__":
    main()
