"""The whole model: what it returns, what it minimises, and how it is saved and loaded."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.models.svq_model import FRAME_WEIGHT, SVQ
from src.utils.checkpoint_io import FORMAT, VERSION, atomic_save

BATCH, SIZE, SLOTS, DIM, BLOCKS, CODES = 4, 16, 3, 12, 2, 5
PRIOR = {"embed_dim": 16, "num_heads": 2, "num_layers": 1, "dropout": 0.1}


def make_model(**changes: object) -> SVQ:
    sizes: dict = {
        "image_size": SIZE,
        "num_slots": SLOTS,
        "num_iterations": 2,
        "slot_size": DIM,
        "num_codebooks": BLOCKS,
        "codebook_size": CODES,
        "code_dim": DIM // BLOCKS,
        "hidden_dim": 8,
    }
    return SVQ(**{**sizes, **changes})


def images(batch: int = BATCH) -> Tensor:
    return torch.rand(batch, 3, SIZE, SIZE)


def save(model: SVQ, path: Path, **changes: object) -> Path:
    content = {
        "format": FORMAT,
        "version": VERSION,
        "model_config": model.config,
        "model_state_dict": model.state_dict(),
        "step": 7,
        "metrics": {"loss": 0.5},
    }
    atomic_save({**content, **changes}, path)
    return path


# ---------------------------------------------------------------- forward


@pytest.mark.parametrize("quantize_at", ["last", "every"])
@pytest.mark.parametrize("slot_init", ["learned", "random"])
@pytest.mark.parametrize("decoder", ["cross_attention", "cnn"])
@pytest.mark.parametrize("training", [True, False])
def test_outputs(decoder: str, slot_init: str, quantize_at: str, training: bool) -> None:
    model = make_model(decoder=decoder, slot_init=slot_init, quantize_at=quantize_at).train(training)
    outputs = model(images())
    shapes = {
        "recon": (BATCH, 3, SIZE, SIZE),
        "masks": (BATCH, SLOTS, 1, SIZE, SIZE),
        "slot_images": (BATCH, SLOTS, 3, SIZE, SIZE),
        "slots": (BATCH, SLOTS, DIM),
        "quantized": (BATCH, SLOTS, DIM),
        "codes": (BATCH, SLOTS, BLOCKS),
        "attention": (BATCH, SLOTS, (SIZE // 4) ** 2),
        "commitment_loss": (),
    }
    assert shapes.keys() <= outputs.keys()
    assert {name: tuple(outputs[name].shape) for name in shapes} == shapes
    assert outputs.pop("codes").dtype == torch.int64
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in outputs.values())
    torch.testing.assert_close(outputs["masks"].sum(1), torch.ones(BATCH, 1, SIZE, SIZE))
    torch.testing.assert_close(outputs["recon"], (outputs["masks"] * outputs["slot_images"]).sum(1))
    torch.testing.assert_close(outputs["attention"].sum(1), torch.ones(BATCH, (SIZE // 4) ** 2))


def test_outputs_are_float32_under_autocast() -> None:
    model = make_model()
    model.init_prior(**PRIOR)
    image = images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(image)
        loss, _ = model.compute_loss(image, outputs)
    assert {value.dtype for name, value in outputs.items() if name != "codes"} == {torch.float32}
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_an_untrained_model_works_and_repeats_itself() -> None:
    model, image = make_model().eval(), images()
    before = copy.deepcopy(model.state_dict())
    first, second = model(image), model(image)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    first["recon"][0].detach().permute(1, 2, 0).numpy()


def test_one_path_in_and_one_path_out() -> None:
    model, image = make_model().train(), images()
    model(image)  # fills the codebooks
    outputs = model.eval()(image)
    codes = model.encode(image)
    assert torch.equal(codes, outputs["codes"])
    decoded = model.decode(codes)
    torch.testing.assert_close(decoded.recon, outputs["recon"])
    torch.testing.assert_close(decoded.masks, outputs["masks"])
    torch.testing.assert_close(decoded.slot_images, outputs["slot_images"])
    torch.testing.assert_close(model.quantizer.embed(codes), outputs["quantized"])


def test_the_best_of_several_starts_is_kept_image_by_image() -> None:
    model = make_model(num_starts=3).train()
    image = torch.rand(32, 3, 2, 2).repeat_interleave(SIZE // 2, 2).repeat_interleave(SIZE // 2, 3)  # four fields
    model(image)  # fills the codebooks
    model.eval()

    def from_start(noise: Tensor) -> Tensor:
        found = model.encoder(image, model.quantizer, noise.expand(len(image), -1, -1))
        return (model.decoder(found.quantized).recon - image).square().mean(dim=(1, 2, 3))

    each = torch.stack([from_start(noise) for noise in model.starts])  # (starts, B)
    assert len(each.argmin(dim=0).unique()) > 1  # no start is the best for all
    outputs = model(image)
    torch.testing.assert_close((outputs["recon"] - image).square().mean(dim=(1, 2, 3)), each.min(dim=0).values)
    assert torch.equal(model.encode(image), outputs["codes"])
    assert torch.equal(model.encode(image[:5]), outputs["codes"][:5])  # whatever else is in the batch


def test_learned_slots_have_one_start() -> None:
    image = images()
    torch.manual_seed(0)
    several = make_model(num_starts=3, slot_init="learned").eval()
    torch.manual_seed(0)
    one = make_model(slot_init="learned").eval()
    assert torch.equal(several(image)["recon"], one(image)["recon"])


def test_training_has_a_single_start_of_its_own() -> None:
    model, plain = make_model(num_starts=3), make_model()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name != "starts"})
    image = images()
    torch.manual_seed(0)
    outputs = model.train()(image)
    torch.manual_seed(0)
    expected = plain.train()(image)
    assert all(torch.equal(outputs[name], expected[name]) for name in expected)


def test_gradients_reach_every_parameter() -> None:
    model, image = make_model(code_dim=4), images()
    model.init_prior(**PRIOR)
    model(image)  # fills the codebooks
    loss, _ = model.compute_loss(image, model(image))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


# ---------------------------------------------------------------- loss


def outputs_with_commitment(model: SVQ, image: Tensor) -> dict[str, Tensor]:
    """Eval mode: the commitment of untrained codebooks is far from zero."""
    return model.eval()(image)


@pytest.mark.parametrize("decoder", ["cross_attention", "cnn"])
def test_each_weight_is_applied_once(decoder: str) -> None:
    model, image = make_model(decoder=decoder, commitment_cost=0.7), images()
    outputs = outputs_with_commitment(model, image)
    commitment = outputs["commitment_loss"].item()
    assert commitment > 0.1

    def loss(**weights: float) -> float:
        return model.compute_loss(image, outputs, **weights)[0].item()

    painted = loss(commitment_loss_weight=0.0)
    assert loss() == pytest.approx(painted + 0.7 * commitment)  # commitment_cost is the default weight ...
    assert loss(commitment_loss_weight=None) == loss()
    assert loss(commitment_loss_weight=0.2) == pytest.approx(painted + 0.2 * commitment)  # ... or replaced by this one
    assert loss(recon_loss_weight=3.0, commitment_loss_weight=0.2) == pytest.approx(3 * painted + 0.2 * commitment)
    assert loss(recon_loss_weight=0.0) == pytest.approx(0.7 * commitment)
    assert painted == pytest.approx((outputs["recon"] - image).square().mean().item())


@pytest.mark.parametrize(
    ("output", "term", "weight"),
    [("sketch", "sketch_loss", "sketch_weight"), ("frame_loss", "frame_loss", "frame_weight")],
)
def test_what_helps_training_adds_its_error_with_its_own_weight(output: str, term: str, weight: str) -> None:
    model, image = make_model(), images()
    outputs = model(image)
    error = (outputs["sketch"] - image).square().mean().item() if output == "sketch" else outputs[output].item()
    assert error > 0
    without = {name: value for name, value in outputs.items() if name != output}
    times = FRAME_WEIGHT if output == "frame_loss" else 1
    for value in (1.0, 0.3):
        setattr(model.decoder, weight, value)
        loss, terms = model.compute_loss(image, outputs, recon_loss_weight=2.0)
        alone, terms_alone = model.compute_loss(image, without, recon_loss_weight=2.0)
        assert terms[term] == pytest.approx(error) and term not in terms_alone
        assert loss.item() == pytest.approx(alone.item() + 2 * times * value * error)
    assert output not in model.eval()(image)


def test_a_sketch_without_weight_is_not_made() -> None:
    model = make_model()
    model.decoder.sketch_weight = 0.0
    assert "sketch" not in model(images())


def test_commitment_is_the_mean_squared_distance_to_the_codes() -> None:
    model, image = make_model(), images()
    outputs = outputs_with_commitment(model, image)
    expected = (outputs["slots"] - outputs["quantized"]).square().mean()
    torch.testing.assert_close(outputs["commitment_loss"], expected)


def test_terms_are_unweighted_floats() -> None:
    model, image = make_model(), images()
    outputs = outputs_with_commitment(model, image)
    loss, terms = model.compute_loss(image, outputs, recon_loss_weight=5.0, commitment_loss_weight=9.0)
    assert {"loss", "recon_loss", "commitment_loss"} <= terms.keys() and "prior_loss" not in terms
    assert all(type(value) is float for value in terms.values())
    assert terms["loss"] == pytest.approx(loss.item())
    assert terms["recon_loss"] == pytest.approx((outputs["recon"] - image).square().mean().item())
    assert terms["commitment_loss"] == pytest.approx(outputs["commitment_loss"].item())
    assert loss.requires_grad and loss.ndim == 0


@pytest.mark.parametrize("decoder", ["cross_attention", "cnn"])
def test_slots_are_put_in_order_from_left_to_right(decoder: str) -> None:
    model = make_model(decoder=decoder, num_slots=5)
    codes = torch.randint(CODES, (30, 5, BLOCKS))
    ordered = model.in_order(codes)
    assert ordered.dtype == codes.dtype
    across = model.decoder.centres(model.quantizer.embed(ordered))[..., 0]
    assert (across.diff(dim=1) >= 0).all() and (across[:, 0] < across[:, -1]).any()
    assert [sorted(scene) for scene in ordered.tolist()] == [sorted(scene) for scene in codes.tolist()]  # none is lost
    assert torch.equal(model.in_order(ordered), ordered)
    assert torch.equal(model.in_order(codes[:, torch.randperm(5)]), ordered)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.in_order(codes), ordered)


def test_a_new_prior_starts_from_the_codebooks_and_a_saved_one_does_not() -> None:
    model, other = make_model(), make_model()
    weight = model.init_prior(**PRIOR).code_embedding
    apart = torch.stack([torch.pdist(model.quantizer.codebook[0]), torch.pdist(weight[0].detach())])
    assert torch.corrcoef(apart)[0, 1] > 0.7
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.init_prior(**PRIOR).code_embedding, weight)


def test_prior_loss_is_its_nll_of_the_codes_in_canonical_order() -> None:
    model, image = make_model(), images()
    outputs = outputs_with_commitment(model, image)
    without, _ = model.compute_loss(image, outputs)
    model.init_prior(**PRIOR)
    loss, terms = model.compute_loss(image, outputs)
    expected = model.prior.nll(model.in_order(outputs["codes"])).mean().item()
    assert terms["prior_loss"] == pytest.approx(expected)
    assert loss.item() == pytest.approx(without.item() + expected)
    shuffled = {**outputs, "codes": outputs["codes"].flip(1)}
    assert model.compute_loss(image, shuffled)[1]["prior_loss"] == pytest.approx(expected)  # slots have no order


def test_prior_loss_trains_the_prior_and_nothing_else() -> None:
    alone, model, image = make_model(), make_model(), images()
    model.load_state_dict(alone.state_dict())
    model.init_prior(**PRIOR)
    for module in (alone, model):
        torch.manual_seed(0)  # the same filling of the codebooks
        module.compute_loss(image, module(image))[0].backward()
    for name, parameter in alone.named_parameters():
        assert torch.equal(model.get_parameter(name).grad, parameter.grad), name
    assert all(parameter.grad.abs().max() > 0 for parameter in model.prior.parameters())


def test_a_few_steps_of_training_help() -> None:
    model, image = make_model(num_slots=2, code_dim=6), images(8)
    model.init_prior(**PRIOR)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(60):
        loss, terms = model.compute_loss(image, model(image))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(terms)
    assert history[-1]["recon_loss"] < 0.7 * history[0]["recon_loss"]
    assert history[-1]["prior_loss"] < 0.9 * history[0]["prior_loss"]


# ---------------------------------------------------------------- generation


@pytest.mark.parametrize("given", [torch.zeros(4), torch.zeros(4).long(), torch.tensor(1), torch.zeros(1, 1, 4).long()])
def test_given_slots_are_refused_in_one_line_where_they_are_none(given: torch.Tensor) -> None:
    model = make_model()
    model.init_prior(**PRIOR)
    with pytest.raises(TypeError, match=r"^given must be an int64 tensor \(G, \d+\), got torch\.\w+ \(.*\)$"):
        model.complete(1, given)


def test_generated_images_are_the_decoded_samples() -> None:
    model = make_model()
    model.init_prior(**PRIOR)
    for mode in (True, False):
        model.train(mode)
        drawn = model.generate(batch_size=6, temperature=0.8, top_k=3, generator=torch.Generator().manual_seed(1))
        assert all(module.training is mode for module in model.modules())
        codes = model.prior.sample(6, 0.8, 3, torch.Generator().manual_seed(1))
        assert drawn.shape == (6, 3, SIZE, SIZE) and drawn.dtype == torch.float32
        assert drawn.min() >= 0 and drawn.max() <= 1 and not drawn.requires_grad
        torch.testing.assert_close(drawn, model.decode(codes).recon.clamp(0, 1))


def test_generating_needs_a_prior() -> None:
    with pytest.raises(RuntimeError, match="no prior to generate from: call init_prior and train it"):
        make_model().generate(2)


def test_generating_checks_its_settings() -> None:
    model = make_model()
    model.init_prior(**PRIOR)
    with pytest.raises(ValueError, match="temperature must be greater than 0, got 0"):
        model.generate(2, temperature=0)
    with pytest.raises(TypeError, match="temperature must be a number greater than 0, got 'a'"):
        model.generate(2, temperature="a")
    with pytest.raises(ValueError, match="top_k must be an integer of at least 1, got 0"):
        model.generate(2, top_k=0)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got -1"):
        model.generate(-1)


# ---------------------------------------------------------------- the prior and loading


def test_init_prior_returns_the_prior_in_the_mode_of_the_model() -> None:
    model = make_model().eval()
    assert model.prior is None and model.config["prior"] is None
    prior = model.init_prior(**PRIOR)
    assert model.prior is prior and not prior.training
    assert model.config["prior"] == {**PRIOR, "style": "default", "relations": False}
    assert any(name.startswith("prior.") for name in model.state_dict())
    assert set(prior.parameters()) <= set(model.parameters())


def test_a_second_prior_does_not_silently_replace_the_first() -> None:
    model = make_model()
    first = model.init_prior(**PRIOR)
    with pytest.raises(RuntimeError, match="has a prior already, and init_prior would throw its weights away: set"):
        model.init_prior(**PRIOR)
    assert model.prior is first
    model.prior = None
    assert model.init_prior(**{**PRIOR, "embed_dim": 8}) is model.prior and model.config["prior"]["embed_dim"] == 8


def trained_state() -> tuple[SVQ, dict[str, Tensor]]:
    model = make_model()
    model.init_prior(**PRIOR)
    model(images())
    return model.eval(), model.state_dict()


@pytest.mark.parametrize("prior_first", [True, False])
def test_a_prior_may_be_made_before_or_after_loading(prior_first: bool) -> None:
    model, state = trained_state()
    other = make_model()
    if prior_first:
        other.init_prior(**PRIOR)
    other.load_state_dict(state)
    if not prior_first:
        assert other.prior is None
        other.init_prior(**PRIOR)
    assert other.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())
    expected = model.generate(3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(other.eval().generate(3, generator=torch.Generator().manual_seed(0)), expected)


def test_loading_without_a_prior_leaves_the_autoencoder_usable() -> None:
    model, state = trained_state()
    other = make_model()
    other.load_state_dict(state)
    image = images()
    assert torch.equal(other.eval()(image)["recon"], model(image)["recon"])
    with pytest.raises(RuntimeError, match="no prior"):
        other.generate(1)


def test_loading_leaves_the_given_state_dict_alone() -> None:
    _, state = trained_state()
    names = list(state)
    make_model().load_state_dict(state)
    assert list(state) == names


@pytest.mark.parametrize(
    "wrong", [{"embed_dim": 32}, {"num_layers": 2}, {"num_heads": 4}, {"relations": True}, {"style": "paper"}]
)
def test_a_prior_of_another_kind_is_refused_in_one_line(wrong: dict) -> None:
    model, state = trained_state()
    other = make_model()
    other.load_state_dict(state)
    with pytest.raises(RuntimeError, match="use the arguments it was trained with") as e:
        other.init_prior(**{**PRIOR, **wrong})
    saved = {"embed_dim": 16, "num_heads": 2, "num_layers": 1, "style": "default", "relations": False}
    had, asked = (", ".join(f"{name}={value}" for name, value in {**saved, **of}.items()) for of in ({}, wrong))
    assert f"the loaded prior ({had}) does not fit init_prior({asked})" in str(e.value)
    assert "\n" not in str(e.value)
    assert other.prior is None
    other.init_prior(**PRIOR)  # and the right one still finds its weights
    assert torch.equal(other.prior.head, model.prior.head)


def test_loading_is_strict() -> None:
    _, state = trained_state()
    with pytest.raises(RuntimeError, match="Missing key.*to_query"):
        make_model().load_state_dict({k: v for k, v in state.items() if "to_query" not in k})
    with pytest.raises(RuntimeError, match="size mismatch for quantizer.codebook"):
        make_model(codebook_size=CODES + 1).load_state_dict(state)


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("with_prior", [True, False])
@pytest.mark.parametrize("decoder", ["cross_attention", "cnn"])
def test_from_checkpoint_rebuilds_the_model(tmp_path: Path, decoder: str, with_prior: bool) -> None:
    model = make_model(decoder=decoder, slot_init="random", quantize_at="every", commitment_cost=0.1, code_dim=4)
    if with_prior:
        model.init_prior(**PRIOR)
    model(images())
    path = save(model, tmp_path / "model.pth")
    restored = SVQ.from_checkpoint(path)
    assert restored.config == model.config
    assert not restored.training and (restored.prior is not None) is with_prior
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in restored.state_dict().items())
    image = images()
    torch.manual_seed(1)
    expected = model.eval()(image)
    torch.manual_seed(1)
    assert torch.equal(restored(image)["recon"], expected["recon"])
    opened = torch.load(path, weights_only=True)  # without running any code that may be inside
    assert opened["model_config"] == model.config


def test_two_models_from_one_checkpoint_share_nothing(tmp_path: Path) -> None:
    model = make_model()
    config = copy.deepcopy(model.config)
    path = save(model, tmp_path / "model.pth")
    first, second = SVQ.from_checkpoint(path), SVQ.from_checkpoint(str(path))
    first.init_prior(**PRIOR)
    with torch.no_grad():
        next(first.parameters()).add_(1)
    assert second.config == config and model.config == config and second.prior is None
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_checkpoints_that_cannot_be_used(tmp_path: Path) -> None:
    path = save(make_model(), tmp_path / "model.pth")
    with pytest.raises(FileNotFoundError, match="nowhere.pth does not exist"):
        SVQ.from_checkpoint(tmp_path / "nowhere.pth")
    truncated = tmp_path / "truncated.pth"
    truncated.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="truncated.pth .* cannot be read: it is truncated, damaged or not"):
        SVQ.from_checkpoint(truncated)
    torch.save({"weights": torch.zeros(3)}, tmp_path / "foreign.pth")
    with pytest.raises(ValueError, match="foreign.pth was not written by this project"):
        SVQ.from_checkpoint(tmp_path / "foreign.pth")
    state = make_model(slot_size=DIM + 2, code_dim=7).state_dict()
    other = save(make_model(), tmp_path / "other.pth", model_state_dict=state)
    with pytest.raises(ValueError, match="other.pth does not fit this version of the model") as refused:
        SVQ.from_checkpoint(other)
    assert "\n" not in str(refused.value)
    for key in ("model_config", "model_state_dict"):
        content = torch.load(path, weights_only=True)
        del content[key]
        atomic_save(content, tmp_path / "incomplete.pth")
        with pytest.raises(ValueError, match=f"incomplete.pth is incomplete: its {key} is missing; train a new one"):
            SVQ.from_checkpoint(tmp_path / "incomplete.pth")
    empty = save(make_model(), tmp_path / "empty.pth", model_config=None)
    with pytest.raises(ValueError, match="empty.pth is incomplete: its model_config is NoneType, not a dictionary"):
        SVQ.from_checkpoint(empty)
    silent = save(make_model(), tmp_path / "silent.pth", model_config={"image_size": SIZE})
    with pytest.raises(ValueError, match="silent.pth is incomplete: its model_config lacks prior; train a new one"):
        SVQ.from_checkpoint(silent)
    newer = save(make_model(), tmp_path / "newer.pth", model_config={**make_model().config, "num_eyes": 3})
    with pytest.raises(ValueError, match="newer.pth does not fit this version of the model.*num_eyes"):
        SVQ.from_checkpoint(newer)


def test_a_checkpoint_of_nan_is_refused(tmp_path: Path) -> None:
    model = make_model().eval()
    model.init_prior(**PRIOR)
    with torch.no_grad():
        model.prior.begin[3] = torch.nan
    path = save(model, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match="nan.pth holds NaN or infinity in prior.begin: train a new one$"):
        SVQ.from_checkpoint(path)
    with torch.no_grad():
        model.quantizer.codebook.fill_(torch.inf)
    path = save(model, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match="nan.pth holds NaN or infinity in quantizer.codebook and 1 more"):
        SVQ.from_checkpoint(path)


def test_wrong_arguments_of_from_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(make_model(), tmp_path / "model.pth")
    with pytest.raises(ValueError, match="^device='gpu' is unknown; use such as cpu, cuda, cuda:0 or mps$"):
        SVQ.from_checkpoint(path, "gpu")
    with pytest.raises(TypeError, match="^checkpoint must be the path of a file, got None$"):
        SVQ.from_checkpoint(None)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="^device=cuda is not available here .*; use device=cpu$"):
            SVQ.from_checkpoint(path, "cuda")


# ---------------------------------------------------------------- errors


def test_images_that_do_not_fit() -> None:
    model = make_model()
    for act in (model, model.encode):
        with pytest.raises(ValueError, match=r"image had shape \(2, 3, 32, 32\) but expected \(B, 3, 16, 16\)"):
            act(torch.rand(2, 3, 32, 32))
        with pytest.raises(ValueError, match=r"image had shape \(2, 1, 16, 16\) but expected \(B, 3, 16, 16\)"):
            act(torch.rand(2, 1, SIZE, SIZE))
        with pytest.raises(ValueError, match=r"values must lie in \[0, 1\], got \[0, 255\]: divide 8-bit ones by 255"):
            act(torch.tensor([0.0, 255.0]).repeat(2, 3, SIZE, SIZE // 2))
        with pytest.raises(ValueError, match=r"values must lie in \[0, 1\], got \[-1, 1\]"):
            act(torch.tensor([-1.0, 1.0]).repeat(2, 3, SIZE, SIZE // 2))
        with pytest.raises(TypeError, match=r"must be float32 in \[0, 1\], got torch.uint8"):
            act(torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8))
        with pytest.raises(TypeError, match=r"must be float32 in \[0, 1\], got torch.float64: use image.float\(\)"):
            act(images().double())
    with pytest.raises(ValueError, match=r"image had shape \(1, 3, 16, 16\) but its reconstruction \(4, 3, 16, 16\)"):
        model.compute_loss(images(1), model(images(4)))


@pytest.mark.parametrize(
    "name",
    [
        *("image_size", "in_channels", "num_slots", "num_iterations", "slot_size"),
        *("num_codebooks", "codebook_size", "code_dim", "hidden_dim", "num_starts"),
    ],
)
def test_sizes_must_be_positive_integers(name: str) -> None:
    for value in (0, -4, 8.0):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got {value}"):
            make_model(**{name: value})


@pytest.mark.parametrize("name", ["recon_loss_weight", "commitment_loss_weight"])
def test_weights_of_the_loss(name: str) -> None:
    model, image = make_model(), images()
    outputs = model(image)
    for value in (float("nan"), -0.5, float("inf")):
        with pytest.raises(ValueError, match=f"{name} must be a finite number of at least 0, got {value}$"):
            model.compute_loss(image, outputs, **{name: value})
    with pytest.raises(TypeError, match=f"{name} must be a finite number of at least 0, got '1'$"):
        model.compute_loss(image, outputs, **{name: "1"})
    model.compute_loss(image, outputs, **{name: 0})


def test_outputs_that_are_not_those_of_the_model() -> None:
    model, image = make_model(), images()
    with pytest.raises(ValueError, match="^outputs lacks recon, commitment_loss: give compute_loss what forward"):
        model.compute_loss(image, {})
    model.init_prior(**PRIOR)
    without = {name: value for name, value in model(image).items() if name != "codes"}
    with pytest.raises(ValueError, match="^outputs lacks codes: give compute_loss what forward returned$"):
        model.compute_loss(image, without)


def test_other_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="slot_size=12 .*num_codebooks=5.*slot_size=10 or 15, or num_codebooks from"):
        make_model(num_codebooks=5)
    with pytest.raises(ValueError, match="image_size=20 is not a multiple of 8: choose image_size=16 or 24$"):
        make_model(image_size=20)
    for decoder in ("cross_attention", "cnn"):  # 68 would do for the backbone alone
        with pytest.raises(ValueError, match="image_size=66 is not a multiple of 8: choose image_size=64 or 72$"):
            make_model(image_size=66, decoder=decoder)
    with pytest.raises(TypeError, match="^shading must be True or False, got 'banana'$"):
        make_model(shading="banana")
    with pytest.raises(TypeError, match="^relations must be True or False, got 2$"):
        make_model().init_prior(**PRIOR, relations=2)
    for name in ("feature_dim", "slot_mlp_dim"):  # None has a meaning, 0 has none
        with pytest.raises(ValueError, match=f"^{name} must be an integer of at least 1, got 0$"):
            make_model(**{name: 0})
    with pytest.raises(ValueError, match="unknown decoder 'mlp': choose one of cross_attention, cnn"):
        make_model(decoder="mlp")
    with pytest.raises(ValueError, match="unknown slot_init 'fixed': choose one of random, learned"):
        make_model(slot_init="fixed")
    with pytest.raises(ValueError, match="unknown quantize_at 'first': choose one of last, every"):
        make_model(quantize_at="first")
    with pytest.raises(ValueError, match="commitment_cost must be a finite number of at least 0, got -1"):
        make_model(commitment_cost=-1)
    with pytest.raises(ValueError, match="embed_dim=16.*num_heads=3"):
        make_model().init_prior(embed_dim=16, num_heads=3)


# ---------------------------------------------------------------- the paper's decoder, other bottlenecks


def tokens_model(**changes: object) -> SVQ:
    """One that writes tokens, as the paper's, and quantizes in every iteration."""
    sizes = {"vocab_size": 9, "decoder_layers": 1, "decoder_heads": 2, "decoder_dropout": 0.0, "feature_dim": 8}
    return make_model(decoder="transformer", quantize_at="every", implicit=False, **{**sizes, **changes})


def test_the_loss_of_the_tokens_reaches_the_encoder_and_that_of_the_dvae_does_not() -> None:
    model, image = tokens_model(), images()
    outputs = model(image)
    assert "recon" not in outputs and outputs["masks"].shape == (BATCH, SLOTS, 1, SIZE, SIZE)
    assert torch.allclose(outputs["masks"].sum(dim=1), torch.ones(1))
    loss, terms = model.compute_loss(image, outputs, commitment_loss_weight=0.5)
    assert terms["loss"] == pytest.approx(
        terms["dvae_loss"] + terms["token_loss"] + 0.5 * terms["commitment_loss"], rel=1e-5
    )
    first = next(model.encoder.parameters())
    (from_tokens,) = torch.autograd.grad(outputs["token_loss"], first, retain_graph=True)
    assert from_tokens.abs().sum() > 0
    (from_dvae,) = torch.autograd.grad(outputs["dvae_loss"], first, allow_unused=True, retain_graph=True)
    assert from_dvae is None
    loss.backward()
    assert all(weights.grad is not None for weights in model.parameters())


def test_what_the_tokens_paint_depends_on_the_codes_alone() -> None:
    model, image = tokens_model().eval(), images()
    with torch.no_grad():
        outputs = model(image)
        assert outputs["recon"].shape == image.shape
        torch.testing.assert_close(model.paint(outputs["codes"]), outputs["recon"])
        assert model.init_prior(**PRIOR, style="paper") is model.prior
        assert model.generate(2).shape == (2, 3, SIZE, SIZE)


def test_without_places_slots_are_sorted_by_their_codes() -> None:
    model, codes = tokens_model(), torch.randint(CODES, (20, SLOTS, BLOCKS))
    ordered = model.in_order(codes)
    assert ordered.tolist() == [sorted(scene) for scene in codes.tolist()]


def test_parts_hold_every_weight_once() -> None:
    model = tokens_model()
    parts = model.parts()
    assert list(parts) == ["encoder", "decoder", "dvae"]
    assert sorted(id(w) for part in parts.values() for w in part) == sorted(id(w) for w in model.parameters())
    assert list(make_model().parts()) == ["encoder", "decoder"]


@pytest.mark.parametrize("bottleneck", ["prototypes", "none"])
def test_other_bottlenecks_learn_and_have_no_codes_for_a_prior(bottleneck: str, tmp_path: Path) -> None:
    model, image = make_model(bottleneck=bottleneck), images()
    outputs = model(image)
    loss, terms = model.compute_loss(image, outputs)
    assert terms["commitment_loss"] == 0 and ("codes" in outputs) == (bottleneck == "prototypes")
    loss.backward()
    with pytest.raises(ValueError, match="this model writes no codes, which a prior could learn"):
        model.init_prior(**PRIOR)
    if bottleneck == "none":
        with pytest.raises(ValueError, match="this model has bottleneck='none', hence no codes"):
            model.encode(image)
    again = SVQ.from_checkpoint(save(model, tmp_path / "model.pth"))
    with torch.no_grad():
        assert torch.equal(again(image)["recon"], model.eval()(image)["recon"])


def test_widths_that_do_not_divide_are_named_as_they_were_given() -> None:
    with pytest.raises(ValueError, match="^feature_dim=8 does not divide into decoder_heads=3 equal parts"):
        tokens_model(decoder_heads=3)
    with pytest.raises(ValueError, match=f"^slot_mlp_dim={BLOCKS + 1} does not divide into num_codebooks={BLOCKS}"):
        make_model(slot_mlp_dim=BLOCKS + 1)


def test_several_starts_do_not_go_with_tokens() -> None:
    with pytest.raises(ValueError, match="num_starts=3 with decoder='transformer'.*: use num_starts=1"):
        tokens_model(num_starts=3)
