"""Models that are saved to be passed on come back as they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.models import code_model
from src.models.catalogue import MODELS, make_model
from src.models.code_model import CodeModel
from src.models.svq_model import SVQ
from src.training.checkpoint import save_checkpoint
from src.training.results import commit
from src.utils import pretrained
from src.utils.pretrained import CONFIG, WEIGHTS

SIZES = {
    **{"image_size": 16, "num_slots": 3, "num_iterations": 2, "slot_size": 20, "num_codebooks": 5, "codebook_size": 8},
    **{"code_dim": 6, "hidden_dim": 8, "vocab_size": 12, "num_starts": 2},
}
SETTINGS = {"seed": 0, "data": {"name": "shapes", "max_shapes": 2, "path": str(Path("/home/me/pictures").absolute())}}


def tiny(kind: str) -> CodeModel:
    model = make_model(kind, SIZES)
    if "commitment_cost" in model.config:
        model.train()(images(16))  # fills the codebooks
    model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    return model.eval()


def images(batch: int = 4) -> Tensor:
    return torch.rand(batch, 3, 16, 16)


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_comes_back_bit_by_bit(tmp_path: Path, kind: str) -> None:
    model, image = tiny(kind), images()
    scores = {"FG-ARI": 0.9}
    files = model.save_pretrained(tmp_path / "mine", config=SETTINGS, metrics=scores, source="results/mine.json")
    assert sorted(file.name for file in files) == ["README.md", CONFIG, WEIGHTS]
    for found in (CodeModel.from_pretrained(tmp_path / "mine"), MODELS[kind].from_pretrained(str(tmp_path / "mine"))):
        assert type(found) is type(model) and found.config == model.config and not found.training
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.state_dict().items())
        assert torch.equal(found.encode(image), model.encode(image))
        draws = [each.generate(2, generator=torch.Generator().manual_seed(0)) for each in (found, model)]
        assert torch.equal(*draws)
        assert found.origin["metrics"] == scores and found.origin["config"]["data"]["path"] == "pictures"
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "| FG-ARI | 0.9 |" in card and "From `results/mine.json`." in card
    assert "/home/me" not in card + (tmp_path / "mine" / CONFIG).read_text()


@pytest.mark.parametrize("kind", MODELS)
def test_a_compact_copy_is_smaller_and_does_nearly_the_same(tmp_path: Path, kind: str) -> None:
    model, image = tiny(kind), images(32)
    sizes = []
    for compact in (False, True):
        model.save_pretrained(tmp_path / str(compact), compact=compact)
        sizes.append((tmp_path / str(compact) / WEIGHTS).stat().st_size)
    assert sizes[1] < 0.75 * sizes[0]  # much of such a small file is names
    found = CodeModel.from_pretrained(tmp_path / "True")
    assert all(value.dtype == model.state_dict()[name].dtype for name, value in found.state_dict().items())
    codes = model.encode(image)
    assert (found.encode(image) == codes).float().mean() > 0.9
    torch.testing.assert_close(found.paint(codes), model.paint(codes), atol=5e-3, rtol=0)
    order = model.in_order(codes)
    torch.testing.assert_close(found.prior.nll(order), model.prior.nll(order), atol=0.05, rtol=0)


def test_what_a_model_was_loaded_with_is_passed_on(tmp_path: Path) -> None:
    tiny("svq").save_pretrained(tmp_path / "first", config=SETTINGS, metrics={"loss": 0.5})
    found = SVQ.from_pretrained(tmp_path / "first")
    found.origin["step"] = 7
    found.save_pretrained(tmp_path / "second")
    content = json.loads((tmp_path / "second" / CONFIG).read_text())
    assert (
        content["config"]["data"]["name"] == "shapes" and content["metrics"] == {"loss": 0.5} and content["step"] == 7
    )


def test_the_commit_that_wrote_a_checkpoint_is_passed_on(tmp_path: Path) -> None:
    content = save_checkpoint(tmp_path / "model.pth", tiny("svq"), step=1, metrics={}, config={})
    assert content["commit"] == commit()
    CodeModel.from_checkpoint(tmp_path / "model.pth").save_pretrained(tmp_path / "mine")
    assert json.loads((tmp_path / "mine" / CONFIG).read_text(encoding="utf-8"))["commit"] == content["commit"]


def test_training_goes_on_from_saved_weights(tmp_path: Path) -> None:
    tiny("svq").save_pretrained(tmp_path, compact=True)
    model, image = SVQ.from_pretrained(tmp_path).train(), images(16)
    before = model.quantizer.codebook.clone()
    model.compute_loss(image, model(image))[0].backward()
    assert all(each.grad is not None for part in model.parts().values() for each in part)
    assert model.compute_loss(image, model(image))[1]["sketch_loss"] > 0
    assert not torch.equal(model.quantizer.codebook, before) and model.quantizer.codebook.isfinite().all()


def test_a_shipped_model_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path)
    tiny("svq").save_pretrained(tmp_path / "tiny")
    assert isinstance(SVQ.from_pretrained("tiny"), SVQ) and isinstance(CodeModel.from_checkpoint("tiny"), SVQ)
    with pytest.raises(ValueError, match=r"'tinny' is no shipped model \(there are: tiny\)"):
        SVQ.from_pretrained("tinny")
    with pytest.raises(ValueError, match="device='gpu' is unknown"):
        SVQ.from_pretrained("tiny", device="gpu")
    with pytest.raises(ValueError, match="holds a model of kind 'svq', not one of: vqvae"):
        MODELS["vqvae"].from_pretrained("tiny")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_slots": 4}, "does not fit this version of the model"),
        ({"codebook_size": 16}, "does not fit this version of the model: .*size mismatch"),
        ({"prior": None}, None),  # the weights of a prior wait for `init_prior`
        ({"num_eyes": 2}, "does not fit this version of the model: .*num_eyes"),
        ({"slot_size": "wide"}, "does not fit this version of the model"),
        ({"slot_size": 10**9}, "sizes, such as slot_size=1000000000, cannot be those of .* weights"),
        ({"decoder_layers": 10**5}, "sizes, such as decoder_layers=100000, cannot be those of"),
        ({"codebook_size": 60_000, "code_dim": 60_000}, r"sizes, which make [\d,]+ numbers, cannot be those of"),
        ({"kind": "gan"}, "holds a model of kind 'gan', not one of: svq"),
    ],
)
def test_settings_of_another_model(tmp_path: Path, changes: dict, said: str | None) -> None:
    tiny("svq").save_pretrained(tmp_path)
    content = json.loads((tmp_path / CONFIG).read_text())
    content["model_config"].update(changes)
    (tmp_path / CONFIG).write_text(json.dumps(content))
    if said is None:
        assert SVQ.from_pretrained(tmp_path).prior is None
        return
    with pytest.raises(ValueError, match=said) as caught:
        SVQ.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_every_shipped_model_opens_is_small_and_says_where_its_scores_are_from() -> None:
    for name in pretrained.shipped():
        model = CodeModel.from_pretrained(name)
        assert model.prior is not None and model.origin["config"]["data"]["name"]
        assert (pretrained.SHIPPED / name / WEIGHTS).stat().st_size <= 5_000_000
        card = (pretrained.SHIPPED / name / "README.md").read_text(encoding="utf-8")
        assert f"From `results/{name}/seed_0.json`; scores are of the weights before rounding." in card


def test_publishing_sends_what_saving_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sent = tiny("svq"), {}

    def upload(folder: Path, *given: object) -> str:
        sent.update({path.name: path.read_bytes() for path in folder.iterdir()}, given=given)
        return "the commit"

    monkeypatch.setattr(code_model, "upload", upload)
    assert model.push_to_hub("owner/mine", private=True, metrics={"FG-ARI": 0.9}) == "the commit"
    assert sent.pop("given") == ("owner/mine", True, None)
    model.save_pretrained(tmp_path / "mine", metrics={"FG-ARI": 0.9})
    assert sent == {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    with pytest.raises(ValueError, match="repo_id='mine' is no id of the Hugging Face hub"):
        model.push_to_hub("mine")
