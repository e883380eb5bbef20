"""What both decoders promise: slots share out the pixels, whatever their order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.models.slot_decoder import DECODERS, SVQDecoder, losses_only
from src.models.spatial_broadcast_decoder import SpatialBroadcastDecoder

BATCH, SLOTS, DIM, CHANNELS, SIZE = 2, 4, 8, 3, 16


def make_decoder(decoder: str, **changes: object) -> SVQDecoder:
    sizes: dict = {
        "slot_dim": DIM,
        "hidden_dim": 8,
        "num_slots": SLOTS,
        "image_size": SIZE,
        "out_channels": CHANNELS,
        "decoder": decoder,
    }
    return SVQDecoder(**{**sizes, **changes})


PAINTERS = tuple(name for name in DECODERS if name != "transformer")  # slots paint, each its own picture
both = pytest.mark.parametrize("decoder", PAINTERS)


@both
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (24, 3)])
def test_shapes(decoder: str, size: int, channels: int) -> None:
    out = make_decoder(decoder, image_size=size, out_channels=channels)(torch.randn(BATCH, SLOTS, DIM))
    assert out.recon.shape == (BATCH, channels, size, size)
    assert out.masks.shape == (BATCH, SLOTS, 1, size, size)
    assert out.slot_images.shape == (BATCH, SLOTS, channels, size, size)


@both
@pytest.mark.parametrize("autocast", [False, True])
def test_masks_share_out_every_pixel(decoder: str, autocast: bool) -> None:
    slots = 5 * torch.randn(BATCH, SLOTS, DIM)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        out = make_decoder(decoder)(slots)
    assert {out.recon.dtype, out.masks.dtype, out.slot_images.dtype} == {torch.float32}
    assert out.masks.min() >= 0 and out.masks.max() <= 1
    torch.testing.assert_close(out.masks.sum(1), torch.ones(BATCH, 1, SIZE, SIZE))
    torch.testing.assert_close(out.recon, (out.masks * out.slot_images).sum(1))


@both
def test_slots_have_no_order(decoder: str) -> None:
    module, slots, order = make_decoder(decoder), torch.randn(BATCH, SLOTS, DIM), [3, 1, 0, 2]
    out, permuted = module(slots), module(slots[:, order])
    torch.testing.assert_close(permuted.recon, out.recon, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(permuted.masks, out.masks[:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(permuted.slot_images, out.slot_images[:, order], rtol=1e-4, atol=1e-5)


@both
def test_centres(decoder: str) -> None:
    module, slots, order = make_decoder(decoder), torch.randn(BATCH, SLOTS, DIM), [3, 1, 0, 2]
    centres = module.centres(slots)
    assert centres.shape == (BATCH, SLOTS, 2) and len(centres.unique()) == centres.numel()
    torch.testing.assert_close(module.centres(slots[:, order]), centres[:, order])
    torch.testing.assert_close(module.centres(slots.roll(1, dims=0)), centres.roll(1, dims=0))  # scenes do not mix


def test_the_centre_of_a_broadcast_slot_is_where_its_mask_is() -> None:
    class OnePixel(SpatialBroadcastDecoder):
        def forward(self, slots: Tensor) -> tuple[Tensor, Tensor]:
            logits = torch.zeros(*slots.shape[:2], 1, SIZE, SIZE)
            logits[..., 2, 13] = 100.0  # third row, third column from the right
            return logits, logits

    centres = OnePixel(DIM, 8, SIZE, CHANNELS).centres(torch.zeros(1, 1, DIM))
    torch.testing.assert_close(centres[0, 0], torch.tensor([13.5, 2.5]) / SIZE * 2 - 1)


def test_frames_are_held_against_the_masks_of_the_same_decoding() -> None:
    slots = torch.randn(BATCH, SLOTS, DIM)
    module = make_decoder("cross_attention")
    out = module(slots)
    torch.testing.assert_close(out.frame_loss, module.decoder.frame_loss(slots, out.masks))
    assert module.eval()(slots).frame_loss is None and make_decoder("cnn")(slots).frame_loss is None


def test_the_sketch_is_made_in_training_by_the_cross_attention_decoder_only() -> None:
    slots = torch.randn(BATCH, SLOTS, DIM)
    module = make_decoder("cross_attention")
    out = module(slots)
    assert out.sketch.shape == out.recon.shape
    torch.testing.assert_close(module(slots.flip(1)).sketch, out.sketch, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(slots).sketch.dtype == torch.float32
    plain = module.eval()(slots)
    assert plain.sketch is None
    torch.testing.assert_close(plain.recon, out.recon)  # nothing else depends on it
    module.train().sketch_weight = 0.0
    assert module(slots).sketch is None
    assert make_decoder("cnn")(slots).sketch is None


@both
def test_scenes_do_not_mix(decoder: str) -> None:
    module, slots = make_decoder(decoder), torch.randn(BATCH, SLOTS, DIM)
    together, alone = module(slots), module(slots[1:])
    torch.testing.assert_close(together.recon[1:], alone.recon, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.masks[1:], alone.masks, rtol=1e-4, atol=1e-5)


@both
def test_one_slot_paints_everything(decoder: str) -> None:
    out = make_decoder(decoder, num_slots=1)(torch.randn(BATCH, 1, DIM))
    assert torch.equal(out.masks, torch.ones_like(out.masks))
    torch.testing.assert_close(out.recon, out.slot_images[:, 0])


@both
def test_every_slot_and_every_parameter_learns(decoder: str) -> None:
    module, slots = make_decoder(decoder), torch.randn(BATCH, SLOTS, DIM, requires_grad=True)
    out = module(slots)
    loss = out.recon.square().mean()
    if out.sketch is not None:  # part of the decoder learns from the sketch alone
        loss = loss + out.sketch.square().mean()
    loss.backward()
    assert (slots.grad.abs().amax(-1) > 0).all()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@both
def test_a_decoder_can_learn_one_picture(decoder: str) -> None:
    """Two slots, one image: left red, right green. The error becomes small beside the variance."""
    target = torch.zeros(1, 3, SIZE, SIZE)
    target[:, 0, :, : SIZE // 2] = 1
    target[:, 1, :, SIZE // 2 :] = 1
    module, slots = make_decoder(decoder, num_slots=2, hidden_dim=16), torch.randn(1, 2, DIM)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(80):
        error = (module(slots).recon - target).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error < 0.05 * target.var()


@both
def test_wrong_slots(decoder: str) -> None:
    module = make_decoder(decoder)
    with pytest.raises(ValueError, match=r"slots had shape \(2, 5, 8\) but expected \(B, 4, 8\)"):
        module(torch.randn(2, SLOTS + 1, DIM))
    with pytest.raises(ValueError, match=r"slots had shape \(2, 4, 7\) but expected \(B, 4, 8\)"):
        module(torch.randn(2, SLOTS, DIM - 1))
    with pytest.raises(ValueError, match=r"slots had shape \(4, 8\)"):
        module(torch.randn(SLOTS, DIM))


@pytest.mark.parametrize("name", ["slot_dim", "hidden_dim", "num_slots", "image_size", "out_channels"])
@pytest.mark.parametrize("value", [0, -8, 16.0])
def test_sizes_must_be_positive_integers(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got {value}"):
        make_decoder("cnn", **{name: value})


def test_other_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="unknown decoder 'unet': choose one of cross_attention, cnn"):
        make_decoder("unet")
    with pytest.raises(ValueError, match="hidden_dim=10 is not a multiple of 4: choose hidden_dim=8 or 12$"):
        make_decoder("cross_attention", hidden_dim=10)
    for decoder in PAINTERS:
        with pytest.raises(ValueError, match="image_size=20 is not a multiple of 8: choose image_size=16 or 24$"):
            make_decoder(decoder, image_size=20)


# ---------------------------------------------------------------- the transformer decoder


def test_the_transformer_gives_losses_where_it_is_given_the_image_and_paints_outside_training_only() -> None:
    torch.manual_seed(0)
    sizes = {"num_blocks": 2, "embed_dim": 8, "vocab_size": 12, "num_layers": 1, "num_heads": 2, "dropout": 0.0}
    decoder = SVQDecoder(8, 8, 3, 16, 3, "transformer", **sizes)
    slots, image = torch.randn(2, 3, 8), torch.rand(2, 3, 16, 16)
    learning = decoder(slots, image)
    assert learning.recon is None and learning.masks is None and learning.losses is not None
    assert {name: value.shape for name, value in learning.losses.items()} == {"dvae_loss": (), "token_loss": ()}
    decoder.eval()
    painted = decoder(slots)
    assert painted.losses is None and painted.recon is not None and painted.recon.shape == (2, 3, 16, 16)
    assert torch.equal(painted.recon, decoder(slots, image).recon)  # from the slots alone
    with losses_only(decoder):
        with losses_only(decoder):
            assert decoder(slots, image).recon is None
        assert decoder(slots, image).recon is None
        assert torch.equal(painted.recon, decoder(slots).recon)  # there is nothing else to make
    assert decoder(slots, image).recon is not None
    assert torch.equal(painted.recon, decoder.train()(slots).recon) and decoder.training
    assert decoder.centres(slots) is None
