"""One-line errors for model arguments and inputs: the value, what was expected, what to do."""

from __future__ import annotations

from math import inf
from numbers import Real

import torch
from torch import Tensor


def require_positive(**sizes: int) -> None:
    """Raises ValueError naming the first argument that is not an integer of at least 1."""
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def require_number(name: str, value: float, expected: str) -> None:
    """Raises TypeError, saying what was `expected`, unless `value` is a real number."""
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be {expected}, got {value!r}")


def require_flag(**flags: bool) -> None:
    """Raises TypeError naming the first argument that is neither True nor False."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}")


def require_temperature(temperature: float) -> None:
    """Raises TypeError or ValueError unless `temperature` is a number greater than 0."""
    require_number("temperature", temperature, "a number greater than 0")
    if not temperature > 0:
        raise ValueError(f"temperature must be greater than 0, got {temperature}")


def require_weight(**weights: float) -> None:
    """Raises TypeError or ValueError naming the first argument that is not a finite number of at least 0."""
    for name, value in weights.items():
        expected = "a finite number of at least 0"
        require_number(name, value, expected)
        if not 0 <= value < inf:
            raise ValueError(f"{name} must be {expected}, got {value}")


def require_share(**shares: float) -> None:
    """Raises TypeError or ValueError naming the first argument that is not a number in [0, 1)."""
    for name, value in shares.items():
        require_number(name, value, "a number in [0, 1)")
        if not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {value}")


def require_multiple(name: str, size: int, unit: int) -> None:
    """Raises ValueError, with the nearest sizes that would do, unless `size` is a multiple of `unit`."""
    if size % unit:
        raise ValueError(f"{name}={size} is not a multiple of {unit}: choose {name}={_nearest_multiples(size, unit)}")


def _nearest_multiples(size: int, unit: int) -> str:
    below, above = size // unit * unit, (size // unit + 1) * unit
    return f"{below} or {above}" if below else str(above)


def require_divisible(total_name: str, total: int, parts_name: str, parts: int) -> None:
    """Raises ValueError, with the nearest sizes that would do, unless `parts` divides `total`."""
    if total % parts:
        would = _nearest_multiples(total, parts)
        divisors = [d for d in range(1, total + 1) if total % d == 0]
        raise ValueError(
            f"{total_name}={total} does not divide into {parts_name}={parts} equal parts: "
            f"choose {total_name}={would}, or {parts_name} from {divisors}"
        )


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError listing the choices unless `value` is one of them."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(choices)}")


def require_image(image: Tensor, channels: int, size: int) -> None:
    """Raises TypeError or ValueError unless `image` is a float32 batch (B, channels, size, size) in [0, 1].

    The values are read on the CPU only: on an accelerator that would halt it at every step; nor while a graph is made.
    """
    if not isinstance(image, Tensor):
        raise TypeError(f"image must be a tensor (B, {channels}, {size}, {size}), got {type(image).__name__}")
    if image.dtype != torch.float32:
        remedy = "image.float()" if image.is_floating_point() else "image.float() / 255"
        raise TypeError(f"image must be float32 in [0, 1], got {image.dtype}: use {remedy}")
    if image.ndim != 4 or image.shape[1:] != (channels, size, size) or image.shape[0] == 0:
        raise ValueError(
            f"image had shape {tuple(image.shape)} but expected (B, {channels}, {size}, {size}): "
            "resize it, or build the model with its image_size and in_channels"
        )
    if image.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (value.item() for value in image.aminmax())
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # written so that NaN fails
            raise ValueError(f"image values must lie in [0, 1], got [{low:.4g}, {high:.4g}]: divide 8-bit ones by 255")


def require_slots(slots: Tensor, num_slots: int, slot_dim: int) -> None:
    """Raises ValueError unless `slots` has the shape (B, num_slots, slot_dim)."""
    if slots.ndim != 3 or slots.shape[1:] != (num_slots, slot_dim):
        raise ValueError(f"slots had shape {tuple(slots.shape)} but expected (B, {num_slots}, {slot_dim})")


def require_codes(codes: Tensor, num_slots: int, num_codebooks: int, codebook_size: int) -> None:
    """Raises unless `codes` is an int64 tensor (B, N, M) with values in [0, K); not looked at while a graph is made."""
    if not isinstance(codes, Tensor) or codes.dtype != torch.int64:
        got = codes.dtype if isinstance(codes, Tensor) else type(codes).__name__
        raise TypeError(f"codes must be an int64 tensor, got {got}")
    if codes.ndim != 3 or codes.shape[1:] != (num_slots, num_codebooks):
        raise ValueError(f"codes had shape {tuple(codes.shape)} but expected (B, {num_slots}, {num_codebooks})")
    if codes.numel() and not torch.compiler.is_compiling():
        low, high = torch.stack(codes.aminmax()).tolist()  # one transfer from the device, not two
        if low < 0 or high >= codebook_size:
            raise ValueError(f"codes must lie in [0, {codebook_size}), got [{low}, {high}]")


def require_tokens(tokens: Tensor, length: int, vocab_size: int) -> None:
    """Raises unless `tokens` is an int64 tensor (B, length) with values in [0, V); values are read on the CPU only."""
    if not isinstance(tokens, Tensor) or tokens.dtype != torch.int64:
        got = tokens.dtype if isinstance(tokens, Tensor) else type(tokens).__name__
        raise TypeError(f"tokens must be an int64 tensor, got {got}")
    if tokens.ndim != 2 or tokens.shape[1] != length:
        raise ValueError(f"tokens had shape {tuple(tokens.shape)} but expected (B, {length})")
    if tokens.device.type == "cpu" and not torch.compiler.is_compiling() and tokens.numel():
        low, high = (value.item() for value in tokens.aminmax())
        if low < 0 or high >= vocab_size:
            raise ValueError(f"tokens must lie in [0, {vocab_size}), got [{low}, {high}]")
