"""Section `inputs`: bad inputs to every command and to the Python API.

A command must end with exit code 1 or 2 and say why in one line: the value, and what was expected or what to do. A call
must raise an exception of its documented kind with a message of one line that does so too. The fragments are what the
line must hold. Nothing that a file holds may be run: the hostile ones would leave a file behind.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from src.configs.errors import LONGEST, ConfigError
from src.configs.launch import compose_config
from src.data.catalogue import open_split
from src.data.decoding import PictureError, decode_picture
from src.data.sprites import SpritesDataset
from src.data.toy_datasets import ShapesDataset, get_data_loaders, make_dataset
from src.editor.scene import EditableScene, codes_from_json
from src.editor.texts import Refused
from src.evaluation.code_reader import what_data_shows
from src.evaluation.words import parse
from src.models.catalogue import make_model
from src.models.completion import Requirement
from src.models.official_import import read_official
from src.models.svq_model import SVQ

from .case import Case, Settings
from .processes import ROOT, Ended, run
from .things import SENTINEL, make_things, tiny_model

# A device that this machine lacks: one with CUDA is no Mac.
ABSENT = "mps" if torch.cuda.is_available() else "cuda"
LIMIT = 300.0  # seconds of a command
LONGEST_LINE = LONGEST + 200

# what is wrong → (command line, fragments of the one line)
COMMANDS: dict[str, tuple[tuple[str, str], ...]] = {
    "wrong type": (
        ("src.train model.num_slots=many", "model.num_slots=many|a whole number"),
        ("src.train data.num_train=1.5", "data.num_train=1.5|a whole number"),
        ("src.train training.steps=[1,2]", "training.steps|[1, 2]"),
        ("src.train training.steps=null", "training.steps|null is not allowed"),
        ("src.render samples=many", "samples=many|a whole number"),
        ("src.evaluate checkpoint=tiny.pth sections=segmentation", "sections|list"),
        ("src.convert_official tiny.pth out.pth --num-slots many", "--num-slots|'many'|--help"),
        ("benchmarks.default_runs --seeds x", "--seeds|'x'|int"),
        ("benchmarks.demo --edits x", "--edits|'x'|int"),
        ("benchmarks.first_edit --outpt x.json", "--outpt"),
    ),
    "out of range": (
        ("src.train model.num_slots=0", "model.num_slots=0|at least 1"),
        ("src.train training.learning_rate=-0.1", "training.learning_rate=-0.1|greater than 0"),
        ("src.train training.learning_rate=nan", "training.learning_rate=nan|finite"),
        ("src.train seed=99999999999999999999999", "seed=99999999999999999999999|from 0 to 2147483647"),
        ("src.train data.image_size=8", "data.image_size=8|from 16 to 1024"),
        ("src.train training.batch_size=0", "training.batch_size=0|at least 1"),
        ("src.generate checkpoint=tiny.pth num_images=0", "num_images=0|at least 1"),
        ("src.generate checkpoint=tiny.pth temperature=inf", "temperature=inf|finite"),
        ("src.generate checkpoint=tiny.pth top_k=0", "top_k=0|at least 1"),
        ("src.generate checkpoint=tiny.pth given=codes.json scene=7", "scene=7|codes.json has 1"),
        ("src.generate checkpoint=tiny.pth given=codes.json keep=[9]", "keep=[9]|from 0 to 1"),
        ("src.evaluate checkpoint=tiny.pth batch_size=-4", "batch_size=-4|at least 1"),
        ("src.evaluate checkpoint=tiny.pth data.max_shapes=99", "data.max_shapes=99|from 1 to 8"),
        ("src.render num_train=0", "num_train=0|at least 1"),
        ("src.demo port=99999", "port=99999|from 1 to 65535"),
        ("benchmarks.sampling --scenes 0", "--scenes|at least 1|0"),
        ("benchmarks.speed --rounds 0", "--rounds|at least 1|0"),
        ("benchmarks.profile_run --budget -1", "--budget|above 0|-1"),
        ("benchmarks.drill --kills 0", "--kills|at least 1|0"),
    ),
    "a name that does not exist": (
        ("src.train training.learnin_rate=1", "training.learnin_rate|did you mean training.learning_rate?"),
        ("src.train +model.num_slot=3", "model.num_slot|did you mean model.num_slots?"),
        ("src.train model.decoder=mlp", "model.decoder=mlp|cross_attention"),
        ("src.train data.background=white", "data.background=white|black"),
        ("src.train model=huge", "model=huge|base"),
        ("src.train experiment=nothing", "experiment=nothing|quick"),
        ("src.train --config-name=nothing", "'nothing'|config"),
        ("src.train --nonsense", "--nonsense|key=value"),
        ("src.train nonsense", "'nonsense'|key=value"),
        ("src.train ablation.enabled=true ablation.variants=[nothing]", "ablation.variants has nothing|cnn_decoder"),
        ("src.train --config-dir=mine experiment=misspelt", "trainin|did you mean training?"),
        ("src.generate checkpoint=tiny.pth num_image=3", "num_image|did you mean num_images?"),
        ("src.generate checkpoint=tiny.pth conditions='a purple elephant'", "'purple'|known are"),
        ("src.evaluate checkpoint=tiny.pth sections=[nothing]", "sections has nothing|segmentation"),
        ("src.render variant=medium", "variant=medium|easy, hard"),
        ("src.export checkpoint=tiny.pth formats=[tflite]", "formats has tflite|pt2, onnx"),
        ("src.demo language=fr", "language=fr|auto, en, ko"),
        ("src.demo prot=8000", "prot|did you mean port?"),
        ("benchmarks.speed --only nothing", "'nothing'|quantizer"),
        ("benchmarks.ablation ablation=nothing", "ablation=nothing|blocks"),
        ("benchmarks.attribute_networks shapes:white", "shapes:white|shapes:black"),
        ("benchmarks.two_processes nonsense=1", "nonsense|the config has"),
        ("benchmarks.drill nothing", "nothing|inputs"),
        ("benchmarks.readme nonsense", "nonsense|--help"),
        ("website.configuration nonsense", "nonsense|--help"),
        ("website.notebook nonsense", "nonsense|--help"),
    ),
    "a device that is not there": (
        (f"src.train device={ABSENT}", f"device={ABSENT}|not available here|device=cpu"),
        (f"src.generate checkpoint=tiny.pth device={ABSENT}", f"device={ABSENT}|not available here|device=cpu"),
        (f"src.demo device={ABSENT}", f"device={ABSENT}|not available here|device=cpu"),
        (f"benchmarks.sampling --device {ABSENT}", f"device={ABSENT}|not available here|device=cpu"),
    ),
    "a missing file": (
        ("src.train data=folder data.path=nowhere", "data.path=nowhere|does not exist"),
        ("src.train training.resume=nowhere.pth", "nowhere.pth|does not exist"),
        ("src.train --config-dir=nowhere", "nowhere|not found"),
        ("src.generate checkpoint=nowhere.pth", "nowhere.pth|does not exist|src.train"),
        ("src.generate checkpoint=tiny.pth image=nowhere.png", "nowhere.png|no such file"),
        ("src.generate checkpoint=tiny.pth given=nowhere.json", "given=nowhere.json|does not exist"),
        ("src.evaluate checkpoint=*.nothing", "checkpoint=*.nothing|matches no file"),
        ("src.evaluate checkpoint=tiny.pth inception=nowhere.pth", "nowhere.pth"),
        ("src.export checkpoint=nowhere.pth", "nowhere.pth|does not exist"),
        ("src.demo checkpoint=nowhere", "nowhere|does not exist|shapes"),
        ("src.convert_official nowhere.pt out.pth", "nowhere.pt|does not exist"),
        ("benchmarks.demo --checkpoint nowhere", "nowhere|does not exist"),
        ("benchmarks.report_time checkpoint=nowhere", "checkpoint|shapes"),
        ("benchmarks.ship --name nothing", "nothing|benchmarks.default_runs"),
        ("benchmarks.reports --name nothing", "nothing|benchmarks.default_runs"),
    ),
    "a folder instead of a file, or a file instead of a folder": (
        ("src.train data=folder data.path=good.png", "data.path=good.png|one file|folder"),
        ("src.train log_dir=file", "file"),
        ("src.train checkpoint_dir=file/deeper", "checkpoint_dir=file/deeper|can be written"),
        ("src.train training.resume=empty", "training.resume=empty|is a folder"),
        ("src.train name=../outside", "'../outside'|without slashes"),
        ("src.generate checkpoint=tiny.pth given=empty", "given=empty|is a folder"),
        ("src.generate checkpoint=tiny.pth output=file", "output=file|is a file"),
        ("src.evaluate checkpoint=tiny.pth output=file", "output=file|is a file"),
        ("src.render output=file", "output=file|is a file"),
        ("src.export checkpoint=tiny.pth output=file", "output=file|is a file"),
        ("src.convert_official tiny.pth empty", "empty|is a folder"),
    ),
    "an empty or too small folder": (
        ("src.train data=folder data.path=empty", "data.path=empty|no pictures"),
        ("src.train data=folder data.path=three", "data.path=three|3 pictures|at least 4"),
        ("src.train data=clevr data.path=clevr", "data.path=clevr|images/train"),
        ("src.train data=clevr_like data.path=empty", "empty|src.render"),
        ("src.evaluate checkpoint=empty", "checkpoint=empty|without checkpoints"),
    ),
    "a picture that cannot be used": (
        ("src.train data=folder data.path=spoiled training.batch_size=2 training.prior.batch_size=2",
         "spoiled/2.png|truncated|data.skip_bad=true"),
        ("src.generate checkpoint=tiny.pth image=text.png", "text.png|not a picture"),
        ("src.generate checkpoint=tiny.pth image=bomb.png", "bomb.png|more than 67,108,864"),
        ("src.generate checkpoint=tiny.pth image=small.png", "small.png|4×4|at least 16"),
        ("src.generate checkpoint=tiny.pth image=drawing.svg", "drawing.svg|not a picture"),
    ),
    "a checkpoint that cannot be used": (
        ("src.generate checkpoint=truncated.pth", "truncated.pth|truncated, damaged"),
        ("src.generate checkpoint=pickled.pth", "pickled.pth|truncated, damaged"),
        ("src.generate checkpoint=hostile.pth", "hostile.pth|truncated, damaged"),
        ("src.generate checkpoint=other.pth", "other.pth|does not fit"),
        ("src.generate checkpoint=nan.pth", "nan.pth|NaN"),
        ("src.generate checkpoint=no_prior.pth", "no_prior.pth|no prior"),
        ("src.generate checkpoint=other_weights", "other_weights|damaged or of another model"),
        ("src.train training.resume=auto checkpoint_dir=run", "run/last.pth|truncated, damaged"),
        ("src.evaluate checkpoint=[tiny.pth,old.pth]", "old.pth|version 1|version 3"),
        ("src.evaluate checkpoint=nameless.pth", "nameless.pth|data.name"),
        ("src.export checkpoint=no_codes.pth formats=[pt2]", "no codes|bottleneck='codes'"),
        ("src.demo checkpoint=vqvae.pth", "vqvae.pth|model.kind=svq"),
        ("src.convert_official hostile.pth out.pth", "hostile.pth|damaged"),
        ("src.convert_official foreign.pth out.pth", "foreign.pth"),
    ),
    "settings or codes in a file that are none": (
        ("src.train --config-dir=mine experiment=torn", "torn.yaml|line 3"),
        ("src.train --config-dir=mine experiment=hostile", "hostile.yaml|tag"),
        ("src.train --config-dir=mine experiment=bytes", "no text|UTF-8"),
        ("src.train --config-dir=mine experiment=headless", "_global_"),
        ("src.train data=clevr_like data.path=rendered", "rendered/manifest.json|no manifest"),
        ("src.generate checkpoint=tiny.pth given=broken.json", "given=broken.json|no scenes|expected"),
        ("src.generate checkpoint=tiny.pth given=deep.json", "given=deep.json|no scenes|expected"),
        ("src.generate checkpoint=tiny.pth given=codes_large.json", "codes_large.json|99|from 0 to 7"),
        ("src.generate checkpoint=tiny.pth given=codes_float.json", "codes_float.json|0.5|whole numbers"),
    ),
    "settings that contradict each other": (
        ("src.train model.image_size=32", "model.image_size=32|data.image_size=64"),
        ("src.train model.slot_size=7", "slot_size=7|num_codebooks=5"),
        ("src.train training.batch_size=100 data.num_train=50", "training.batch_size=100|data.num_train=50"),
        ("src.train training.devices=3", "training.devices=3|training.batch_size=16"),
        ("src.train data.path=photos", "data.path=photos|shapes|data=folder"),
        ("src.train model.bottleneck=none", "model.bottleneck=none|training.prior.steps=0"),
        ("src.train objective=segmentation.miou evaluation.enabled=false", "objective=|evaluation.enabled=false"),
        ("src.generate checkpoint=tiny.pth given=codes.json image=good.png", "given=codes.json|image=good.png"),
        ("src.generate checkpoint=tiny.pth given=codes_whole.json", "codes_whole.json|leaves none|keep=[0,1]"),
        ("src.generate checkpoint=tiny.pth keep=[0]", "keep=[0]|given"),
        ("src.render output=photos", "photos"),
        ("src.demo data_path=nowhere", "nowhere|shapes"),
        ("src.convert_official tiny.pth tiny.pth", "tiny.pth|another output"),
        ("benchmarks.sampling --embed-dim 30", "--embed-dim|30|--num-heads 8"),
    ),
}  # fmt: skip

# what is wrong → (expression, kind of exception, fragments of its message)
CALLS: dict[str, tuple[tuple[str, type[Exception], str], ...]] = {
    "wrong type": (
        ("ShapesDataset(num_samples='many')", TypeError, "num_samples='many'|integer"),
        ("ShapesDataset(10)['first']", TypeError, "'first'|integer"),
        ("get_data_loaders(batch_size='8')", TypeError, "batch_size='8'|integer"),
        ("SVQ(num_slots=2.5)", ValueError, "num_slots|2.5|integer"),
        ("SVQ(commitment_cost='much')", TypeError, "commitment_cost|'much'|number"),
        ("SVQ(inhibition=None)", TypeError, "inhibition|None|number"),
        ("model('picture.png')", TypeError, "str|tensor"),
        ("model((image * 255).byte())", TypeError, "torch.uint8|image.float() / 255"),
        ("model.paint(torch.zeros(1, 3, 2))", TypeError, "codes|int64|torch.float32"),
        ("model.generate(1, temperature='hot')", TypeError, "temperature|'hot'|number"),
        ("model.complete(1, [[0, 1]])", TypeError, "given|tensor|list"),
        ("model.complete(1, wanted=['red circle'])", TypeError, "wanted|'red circle'|Requirement"),
        ("model.load_state_dict(3)", TypeError, "state_dict|int"),
        ("SVQ.from_checkpoint(None)", TypeError, "path|None"),
        ("SVQ.from_pretrained(3)", TypeError, "path|3"),
        ("compose_config('model.num_slots=3')", ConfigError, "'model.num_slots=3'|list"),
        ("scene.with_code(0, 0, 'red')", Refused, "red|0 to 7"),
    ),
    "out of range": (
        ("ShapesDataset(num_samples=-1)", ValueError, "num_samples=-1|at least 1"),
        ("ShapesDataset(image_size=8)", ValueError, "image_size=8|at least 16"),
        ("ShapesDataset(10)[10]", IndexError, "10|10 samples"),
        ("SpritesDataset(max_shapes=2)", ValueError, "max_shapes=2|from 3 to 4"),
        ("get_data_loaders(num_workers=-1)", ValueError, "num_workers=-1|at least 0"),
        ("open_split('folder', 'train', path='photos', num_images=99)", ValueError, "99|photos has 5"),
        ("SVQ(codebook_size=-5)", ValueError, "codebook_size|-5|at least 1"),
        ("SVQ(commitment_cost=float('nan'))", ValueError, "commitment_cost|nan|finite"),
        ("model(image * 255)", ValueError, "[0, 1]|255"),
        ("model(image * float('nan'))", ValueError, "[0, 1]|nan"),
        ("model.paint(torch.full((1, 3, 2), 8))", ValueError, "[0, 8)|[8, 8]"),
        ("model.generate(0)", ValueError, "batch_size|0|at least 1"),
        ("model.generate(1, temperature=0)", ValueError, "temperature|0|greater than 0"),
        ("model.complete(1, torch.zeros(4, 2, dtype=torch.int64))", ValueError, "4 slots|1 to 3"),
        ("tiny_model(prior=False).init_prior(dropout=1.5)", ValueError, "dropout|1.5"),
        ("compose_config(['model.num_slots=0'])", ConfigError, "model.num_slots=0|at least 1"),
        ("scene.with_code(0, 0, 99)", Refused, "99|0 to 7"),
        ("""codes_from_json(b'{"codes": [[[0, 1], [2, NaN], [0, 0]]]}', 3, 2, 8)""", Refused, "nan|0 to 7"),
    ),
    "a name that does not exist": (
        ("ShapesDataset(split='training')", ValueError, "split='training'|train, val, test"),
        ("make_dataset('squares')", ValueError, "'squares'|shapes"),
        ("open_split('nothing', 'train', num_images=4)", ValueError, "'nothing'|shapes"),
        ("SVQ(decoder='mlp')", ValueError, "decoder|'mlp'|cross_attention"),
        ("SVQ(num_slot=3)", TypeError, "num_slot"),
        ("make_model('gan', {})", ValueError, "'gan'|svq"),
        ("SVQ.from_pretrained('shape')", ValueError, "'shape'|shapes"),
        ("SVQ.from_checkpoint('tiny.pth', device='tpu')", ValueError, "'tpu'|cpu"),
        (f"SVQ.from_checkpoint('tiny.pth', device='{ABSENT}')", ValueError, f"device={ABSENT}|not available|cpu"),
        ("compose_config(['model.num_slot=3'])", ConfigError, "model.num_slot|model.num_slots"),
        ("parse('a purple elephant', names, 4)", ValueError, "'purple'|known are"),
    ),
    "sizes that do not fit": (
        ("SVQ(image_size=60)", ValueError, "image_size=60|56 or 64"),
        ("SVQ(slot_size=10, num_codebooks=4)", ValueError, "slot_size=10|num_codebooks=4|8 or 12"),
        ("model(torch.rand(2, 3, 32, 32))", ValueError, "(2, 3, 32, 32)|(B, 3, 16, 16)"),
        ("model.paint(torch.zeros(1, 2, 2, dtype=torch.int64))", ValueError, "(1, 2, 2)|(B, 3, 2)"),
        ("tiny_model(prior=False).init_prior(embed_dim=7, num_heads=2)", ValueError, "embed_dim=7|num_heads=2"),
        ("model.load_state_dict({})", RuntimeError, "Missing key"),
        ("scene.with_codes(((0,),))", Refused, "1 × 1|3 slots of 2 codes"),
    ),
    "not in this order": (
        ("tiny_model(prior=False).generate(1)", RuntimeError, "no prior|init_prior"),
        ("model.init_prior()", RuntimeError, "has a prior already"),
        ("model.compute_loss(image, {})", ValueError, "outputs lacks recon|forward"),
        ("scene.undone()", Refused, "nothing to undo"),
    ),
    "a file that cannot be used": (
        ("decode_picture('truncated.png', 16)", PictureError, "truncated.png|truncated"),
        ("decode_picture('float.tif', 16)", PictureError, "float.tif|floating-point"),
        ("decode_picture('empty', 16)", PictureError, "empty|is a folder"),
        ("open_split('sysbinder', 'train', path='sysbinder')", FileNotFoundError, "data.path=sysbinder|no masks"),
        ("SVQ.from_checkpoint('nowhere.pth')", FileNotFoundError, "nowhere.pth|does not exist"),
        ("SVQ.from_checkpoint('empty.pth')", ValueError, "empty.pth|0 bytes"),
        ("SVQ.from_checkpoint('hostile.pth')", ValueError, "hostile.pth|damaged"),
        ("SVQ.from_checkpoint('foreign.pth')", ValueError, "foreign.pth|not written by this project"),
        ("SVQ.from_checkpoint('headless.pth')", ValueError, "headless.pth|model_config"),
        ("SVQ.from_checkpoint('vqvae.pth')", ValueError, "vqvae.pth|'vqvae'|svq"),
        ("SVQ.from_checkpoint('bad_json')", ValueError, "bad_json/config.json|no JSON"),
        ("SVQ.from_checkpoint('no_weights')", ValueError, "no_weights|model.safetensors"),
        ("model.save_pretrained('file')", OSError, "file"),
        ("read_official('pickled.pth')", ValueError, "pickled.pth|damaged"),
        ("codes_from_json(b'[' * 100_000, 3, 2, 8)", Refused, "no file of codes|expected JSON"),
        ("codes_from_json(b' ' * 2**21, 3, 2, 8)", Refused, "larger than 1 MB"),
    ),
}


def inputs(work: Path, settings: Settings) -> Iterator[Case]:
    """The cases of the section."""
    things = make_things(work / "things")
    for wrong, lines in COMMANDS.items():
        for line, fragments in lines:
            yield bad_command(line, wrong, fragments, things, work / "output")
    names = namespace()
    with inside(things):
        for wrong, calls in CALLS.items():
            for call, kind, fragments in calls:
                yield bad_call(call, wrong, kind, fragments, names)
    executed = (things / SENTINEL).exists()
    happened = f"{SENTINEL} was made" if executed else "nothing was made"
    yield Case("code in files", "opened all of these files", "nothing of them is run", happened, not executed)


def bad_command(line: str, wrong: str, fragments: str, things: Path, output: Path) -> Case:
    """Runs a command in the folder `things`."""
    command, *words = shlex.split(line)
    ended = run(command, words, output, LIMIT, first=os.chdir, arguments=(things,))
    passed = ended.clear and holds(ended.said, fragments)
    happened = _happened(ended).replace(f"{things.resolve()}/", "").replace(str(things.resolve()), "<folder>")
    happened = happened.replace(f"{ROOT}/", "")
    return Case(line, wrong, f"one line with {_listed(fragments)}", happened, passed)


def bad_call(call: str, wrong: str, kind: type[Exception], fragments: str, names: dict[str, Any]) -> Case:
    """Evaluates an expression, here and now, with these names known."""
    expected = f"{kind.__name__} of one line with {_listed(fragments)}"
    try:
        eval(call, dict(names))
    except Exception as error:
        passed = isinstance(error, kind) and holds(str(error), fragments)
        return Case(call, wrong, expected, f"{type(error).__name__}: {error}", passed)
    return Case(call, wrong, expected, "nothing was raised", passed=False)


def holds(line: str, fragments: str) -> bool:
    """Whether `line` is one line of a length to be read, with all of the fragments, which | separates."""
    one = "\n" not in line and len(line) <= LONGEST_LINE
    return one and all(fragment in line for fragment in fragments.split("|"))


def _listed(fragments: str) -> str:
    return ", ".join(f"“{fragment}”" for fragment in fragments.split("|"))


def _happened(ended: Ended) -> str:
    more = "" if ended.clear or not ended.code else f" ({len(ended.err.splitlines())} lines)"
    return f"{ended}{more}"


def namespace() -> dict[str, Any]:
    """The names in `CALLS`."""
    mine = {
        "model": tiny_model(),
        "image": torch.full((2, 3, 16, 16), 0.5),
        "scene": EditableScene(((0, 1), (2, 3), (4, 5)), 8),
        "names": what_data_shows(ShapesDataset(1))[0],
        "torch": torch,
    }
    functions = (
        *(SVQ, ShapesDataset, SpritesDataset, Requirement, codes_from_json, compose_config, decode_picture),
        *(get_data_loaders, make_dataset, make_model, open_split, parse, read_official, tiny_model),
    )
    return {**mine, **{each.__name__: each for each in functions}}


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """The working directory is `folder`."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
