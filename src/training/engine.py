"""Device, precision and processes, through Lightning Fabric."""

from __future__ import annotations

import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric, seed_everything
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.plugins.precision.amp import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy

from ..configs.errors import LONGEST, CommandError, ConfigError, as_config_error
from ..configs.schema import TrainConfig
from ..utils.memory import keep_freed_memory
from ..utils.precision import resolve_device, resolve_precision

LOG = logging.getLogger("svq")
TIMEOUT = timedelta(minutes=30)  # that a process waits for the others: at the start, and while the first one evaluates

_LOST = re.compile("gloo|NCCL|connection|socket|broken pipe|timed? ?out", re.IGNORECASE)

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the run says its device itself
# It says there that it ends this process, by force, because another one has ended.
logging.getLogger("lightning_fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)
# Its successor is not in every PyTorch that the project works with.
warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
# CUDA's fast attention adds gradients up in any order; docs/reproducibility.md says what that means for a resumed run.
warnings.filterwarnings("ignore", ".* attention defaults to a non-deterministic algorithm")


class Autocast(MixedPrecision):
    """Fabric's bf16 autocast, without its rounding of what goes into the model: images and losses stay float32."""

    def convert_input(self, data: Any) -> Any:
        return data


def make_fabric(config: TrainConfig, one_of_several: bool = False) -> Fabric:
    """The launched engine of a run, every process seeded alike.

    Raises:
        ConfigError: a device that is not there, or several processes where they cannot be had.
    """
    with as_config_error():
        device = resolve_device(config.device)
        precision = resolve_precision(config.precision, device)
    devices, num_nodes = config.training.devices, config.training.num_nodes
    check_processes(devices, num_nodes, one_of_several)
    if device == "cpu" and devices > max(2, os.cpu_count() or 1):
        raise ConfigError(
            f"training.devices={devices} processes but there are only {os.cpu_count()} processor cores here"
        )
    if device == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(f"training.devices={devices} but CUDA has {torch.cuda.device_count()} here")
    several = devices * num_nodes > 1
    if several and device == "mps":
        raise ConfigError(f"training.devices={devices}: an Apple GPU takes one process; use training.devices=1")
    try:
        fabric = Fabric(
            accelerator=device,
            devices=devices,
            num_nodes=num_nodes,
            plugins=[Autocast("bf16-mixed", device)] if precision == "bf16" else [],
            # The quantizer keeps its codebooks in step itself; copying buffers would cost time for nothing.
            strategy=DDPStrategy(broadcast_buffers=False, find_unused_parameters=True, timeout=TIMEOUT)
            if several
            else "auto",
        )
        if device == "cpu":
            keep_freed_memory()
        if num_nodes > 1:
            LOG.info(f"waiting until all {devices * num_nodes} processes of {num_nodes} machines are there")
        fabric.launch()
    except (ValueError, RuntimeError) as error:  # Fabric's own checks, and those of torch.distributed
        where = f"MASTER_ADDR={os.environ.get('MASTER_ADDR')} and MASTER_PORT={os.environ.get('MASTER_PORT')}"
        raise ConfigError(
            f"the {devices * num_nodes} processes did not come together at {where}: {str(error)[:LONGEST]}"
            if several
            else error
        ) from error
    seed_everything(config.seed, verbose=False)
    return fabric


def check_processes(devices: int, num_nodes: int, one_of_several: bool = False) -> None:
    """Holds the settings against who starts the processes: torchrun, srun, or else this one.

    Raises:
        ConfigError: they do not fit together, or the first process of all cannot be found.
    """
    settings, processes = f"training.devices={devices} and training.num_nodes={num_nodes}", devices * num_nodes
    launcher = "torchrun" if TorchElasticEnvironment.detect() else "srun"
    # SLURM_NTASKS tells of the whole job; only a step that srun started has this one.
    started = int(os.environ.get("WORLD_SIZE" if launcher == "torchrun" else "SLURM_STEP_NUM_TASKS", 1))
    if started > 1 or launcher == "torchrun":
        if started != processes:
            raise ConfigError(
                f"{launcher} started {started} processes but {settings} make {processes}: "
                "set them to its processes a machine and its machines"
            )
    elif processes > 1 and one_of_several:
        raise ConfigError(
            f"training.devices={devices} does not go with --multirun or an ablation study, whose runs share a process: "
            "use training.devices=1, hydra/launcher=svq_slurm, or call the command once for each setting"
        )
    elif num_nodes > 1:
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in os.environ]
        if missing:
            raise ConfigError(
                f"training.num_nodes={num_nodes} but {', '.join(missing)} not set: start it through torchrun or srun, "
                "or set these on every machine"
            )
    if address := os.environ.get("MASTER_ADDR") if processes > 1 else None:
        try:
            socket.getaddrinfo(address, None)
        except OSError as error:
            raise ConfigError(f"MASTER_ADDR={address} is no machine that can be found from here: {error}") from error


@contextmanager
def together(fabric: Fabric, last: Path) -> Iterator[None]:
    """Inside, a process whose fellow is gone ends with one line; `last` is the checkpoint to go on from.

    Raises:
        CommandError: the others cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:  # so says PyTorch, through Gloo and NCCL
        if fabric.world_size == 1 or not _LOST.search(str(error)):
            raise
        go_on = f"go on from {last} with training.resume=auto" if last.exists() else "no checkpoint was written yet"
        raise CommandError(
            f"another of the {fabric.world_size} processes ended or cannot be reached; {go_on} ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """The first sentence, without the line of PyTorch's source."""
    return re.sub(r"^\[\S*\] ", "", str(error).splitlines()[0]).split(". ")[0][:LONGEST]


@contextmanager
def reproducible() -> Iterator[None]:
    """Inside, sums are made in the same order every time, so that a resumed run ends with the same bits; on CUDA all
    but those of attention's backward pass, which PyTorch makes exact only where it may refuse what it cannot.

    Without it the gradient of an embedding is added up by several threads in the order in which they come.
    """
    settings: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = settings.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = False  # a help in debugging, and slow
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        settings.fill_uninitialized_memory = filled


def fused_adam(device: torch.device) -> bool:
    """Whether PyTorch has the one-kernel Adam for this device."""
    return device.type in ("cpu", "cuda")
