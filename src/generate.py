"""`python -m src.generate`: new scenes from the prior of a checkpoint, as a picture grid and as codes.

python -m src.generate
python -m src.generate checkpoint=checkpoints/best_model.pth num_images=64 temperature=1.0 output=samples
python -m src.generate conditions="two red circles and a blue square" num_images=16
python -m src.generate image=picture.png keep=[0,2]
python -m src.generate given=samples/codes.json scene=5 keep=[1] conditions="a green object at the left" output=kept
"""

from __future__ import annotations

from .configs.launch import command
from .configs.schema import GenerateConfig


@command("generate", GenerateConfig)
def main(config: GenerateConfig) -> None:
    from .training.sampling import write_samples  # torch comes in here: a mistake in the config shows before

    for path in write_samples(config):
        print(path)


if __name__ == "__main__":
    main()
