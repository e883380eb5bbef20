"""What every model of codes does, seen in the two that have patches instead of slots."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from src.models.catalogue import MODELS, make_model
from src.models.code_model import CodeModel
from src.models.dvae_tokens import DVAETokens
from src.models.patch_vqvae import PatchVQVAE
from src.models.svq_model import SVQ
from src.utils.checkpoint_io import FORMAT, VERSION, atomic_save

SIZES = {"image_size": 16, "codebook_size": 8, "code_dim": 6, "hidden_dim": 8, "vocab_size": 12}
PATCHES = ("vqvae", "dvae")


def tiny(kind: str) -> CodeModel:
    """An untrained model that yet tells patches apart, as a trained one does."""
    model = make_model(kind, SIZES)
    with torch.no_grad():
        if isinstance(model, PatchVQVAE):
            model.quantizer.codebook.copy_(model._patches(images(8)).flatten(0, 1)[:8])
        elif isinstance(model, DVAETokens):
            model.dvae.encoder[-1].bias.copy_(-model.dvae.logits(images(8)).mean(dim=(0, 1)))
    return model


def images(batch: int = 3) -> Tensor:
    return torch.rand(batch, 3, 16, 16)


def save(path: Path, model: CodeModel, **changes: object) -> Path:
    content = {"format": FORMAT, "version": VERSION, "model_config": model.config}
    atomic_save({**content, "model_state_dict": model.state_dict(), **changes}, path)
    return path


@pytest.mark.parametrize("kind", PATCHES)
@pytest.mark.parametrize("training", [True, False])
def test_outputs(kind: str, training: bool) -> None:
    model, image = tiny(kind).train(training), images()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(image)
    assert outputs["recon"].shape == image.shape and outputs["recon"].dtype == torch.float32
    assert outputs["codes"].shape == (3, model.num_slots, 1) and outputs["codes"].dtype == torch.int64
    assert outputs["codes"].min() >= 0 and outputs["codes"].max() < model.codebook_size
    assert not {"masks", "slot_images", "slots"} & set(outputs)
    assert ("commitment_loss" in outputs) == (kind == "vqvae")


@pytest.mark.parametrize("kind", PATCHES)
def test_one_path_in_and_one_path_out(kind: str) -> None:
    model, image = tiny(kind).eval(), images()
    outputs = model(image)
    assert len(outputs["codes"].unique()) > 1
    assert torch.equal(model.encode(image), outputs["codes"])
    torch.testing.assert_close(model.paint(outputs["codes"]), outputs["recon"])
    assert torch.equal(model.in_order(outputs["codes"]), outputs["codes"]) and not model.has_slots
    with pytest.raises(ValueError, match=r"codes had shape \(3, 2, 1\) but expected"):
        model.paint(outputs["codes"][:, :2])


@pytest.mark.parametrize("kind", PATCHES)
def test_every_weight_is_in_one_part_and_learns(kind: str) -> None:
    model, image = tiny(kind).train(), images()
    parts = model.parts()
    assert sorted(parts) == ["decoder", "encoder"]
    weights = [id(each) for part in parts.values() for each in part]
    assert sorted(weights) == sorted(map(id, model.parameters()))
    model.compute_loss(image, model(image))[0].backward()
    for name, each in model.named_parameters():
        assert each.grad is not None and each.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", PATCHES)
def test_each_weight_of_the_loss_is_applied_once(kind: str) -> None:
    model, image = tiny(kind).eval(), images()
    outputs = model(image)
    error = F.mse_loss(outputs["recon"], image)
    commitment = outputs.get("commitment_loss", torch.zeros(()))
    loss, terms = model.compute_loss(image, outputs, 2.0, 3.0)
    torch.testing.assert_close(loss, 2 * error + 3 * commitment)
    loss, _ = model.compute_loss(image, outputs)
    torch.testing.assert_close(loss, error + 0.25 * commitment)
    assert terms["recon_loss"] == pytest.approx(error.item())
    assert set(terms) == {"loss", "recon_loss"} | ({"commitment_loss"} if kind == "vqvae" else set())


@pytest.mark.parametrize("kind", PATCHES)
def test_prior_loss_is_its_nll_of_the_codes_and_trains_nothing_else(kind: str) -> None:
    model, image = tiny(kind).eval(), images()
    prior = model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    outputs = model(image)
    loss, terms = model.compute_loss(image, outputs, recon_loss_weight=0.0, commitment_loss_weight=0.0)
    assert terms["prior_loss"] == pytest.approx(prior.nll(outputs["codes"]).mean().item())
    loss.backward()
    assert all(each.grad is not None for each in prior.parameters())
    assert not any(each.grad.any() for part in model.parts().values() for each in part if each.grad is not None)


@pytest.mark.parametrize("kind", PATCHES)
def test_what_does_not_belong_to_the_model_is_named(kind: str) -> None:
    model, image = tiny(kind), images()
    outputs = model(image)
    with pytest.raises(ValueError, match="outputs lacks recon"):
        model.compute_loss(image, {"codes": outputs["codes"]})
    with pytest.raises(ValueError, match="but its reconstruction"):
        model.compute_loss(image[:2], outputs)
    with pytest.raises(ValueError, match="recon_loss_weight must be a finite number of at least 0"):
        model.compute_loss(image, outputs, recon_loss_weight=-1.0)
    with pytest.raises(ValueError, match=r"image had shape \(3, 3, 8, 8\) but expected \(B, 3, 16, 16\)"):
        model(image[:, :, :8, :8])
    with pytest.raises(ValueError, match="image_size=18 is not a multiple of"):
        make_model(kind, {**SIZES, "image_size": 18})


@pytest.mark.parametrize("kind", PATCHES)
def test_the_prior_draws_codes_of_the_codebook_and_paints_them(kind: str) -> None:
    model = tiny(kind).eval()
    model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    codes = model.prior.sample(5, generator=torch.Generator().manual_seed(1))
    assert codes.shape == (5, model.num_slots, 1)
    assert codes.min() >= 0 and codes.max() < model.codebook_size
    drawn = model.generate(5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(drawn, model.paint(codes).clamp(0, 1))


@pytest.mark.parametrize("kind", PATCHES)
@pytest.mark.parametrize("with_prior", [False, True])
def test_from_checkpoint_rebuilds_the_model(tmp_path: Path, kind: str, with_prior: bool) -> None:
    model, image = tiny(kind).eval(), images()
    if with_prior:
        model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    path = save(tmp_path / "model.pth", model)
    for found in (CodeModel.from_checkpoint(path), MODELS[kind].from_checkpoint(path)):
        assert type(found) is type(model) and found.config == model.config and not found.training
        assert torch.equal(found(image)["recon"], model(image)["recon"])
        assert (found.prior is not None) == with_prior
        if with_prior:
            draws = [each.generate(2, generator=torch.Generator().manual_seed(0)) for each in (found, model)]
            assert torch.equal(*draws)


def test_a_checkpoint_of_another_kind_is_one_line(tmp_path: Path) -> None:
    path = save(tmp_path / "model.pth", tiny("vqvae"))
    for wrong in (SVQ, DVAETokens):
        with pytest.raises(ValueError, match=f"holds a model of kind 'vqvae', not one of: {wrong.kind}$") as error:
            wrong.from_checkpoint(path)
        assert "\n" not in str(error.value)
    foreign = save(tmp_path / "foreign.pth", tiny("vqvae"), model_config={"kind": "gan", "prior": None})
    with pytest.raises(ValueError, match="holds a model of kind 'gan', not one of: svq, vqvae, dvae$"):
        CodeModel.from_checkpoint(foreign)
    with pytest.raises(ValueError, match="model kind 'gan' is unknown; choose one of: svq, vqvae, dvae"):
        make_model("gan", SIZES)


def test_a_subclass_loads_itself(tmp_path: Path) -> None:
    class Mine(PatchVQVAE):
        pass

    assert type(Mine.from_checkpoint(save(tmp_path / "model.pth", tiny("vqvae")))) is Mine


@pytest.mark.parametrize("kind", PATCHES)
def test_a_few_steps_of_training_help(kind: str) -> None:
    model = make_model(kind, {**SIZES, "hidden_dim": 32, "code_dim": 16})
    colours = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    cells = colours[torch.randint(4, (16, 2, 2))].permute(0, 3, 1, 2)
    image = F.interpolate(cells, scale_factor=8.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        model.compute_loss(image, model(image))[0].backward()
        optimizer.step()
    assert F.mse_loss(model.eval()(image)["recon"], image) < 0.6 * image.var()
    assert len(model(image)["codes"].unique()) >= 4


# ---------------------------------------------------------------- fewer codes


@pytest.mark.parametrize("kind", ["svq", "vqvae"])
def test_a_model_with_merged_codes_is_one_of_so_many(tmp_path: Path, kind: str) -> None:
    """Its prior, its checkpoint and its pictures know no others."""
    model, image = make_model(kind, SIZES).train(), images(8)
    for _ in range(3):
        model(image)  # fills the codebooks
    arguments = model.config
    model.eval().merge_codes(3)
    assert arguments["codebook_size"] == 8 and model.config["codebook_size"] == model.codebook_size == 3
    codes = model.encode(image)
    assert 1 <= codes.max() < 3
    model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    assert model.generate(2).shape == (2, 3, 16, 16)
    loaded = CodeModel.from_checkpoint(save(tmp_path / "merged.pth", model))
    assert torch.equal(loaded.encode(image), codes)
    assert torch.equal(loaded.paint(codes), model.paint(codes))
    with pytest.raises(RuntimeError, match="merge them before init_prior"):
        model.merge_codes(2)


@pytest.mark.parametrize(("kind", "changes"), [("dvae", {}), ("svq", {"bottleneck": "none"})])
def test_a_model_without_codebooks_has_nothing_to_merge(kind: str, changes: dict) -> None:
    with pytest.raises(ValueError, match="this model has no codebooks whose codes could be merged"):
        make_model(kind, {**SIZES, **changes}).merge_codes(2)
