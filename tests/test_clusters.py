"""What docs/clusters.md says of torchrun, SLURM and sweeps, as far as one machine can show it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from src.configs.errors import ConfigError
from src.models.svq_model import SVQ
from src.training.checkpoint import BEST

from .test_configs import ROOT, TWO_STEPS, command
from .training.tiny import CONFIGS, TINY, tiny_config

IN_PLACE = "hydra.run.dir=logs/run"  # else processes that start apart would name their folders by their own clocks


def composed(*words: str) -> dict:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", [*TINY, *words], return_hydra_config=True).hydra


def results(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("results.json"))]


# ---------------------------------------------------------------------------------------------- processes


@pytest.mark.slow
def test_torchrun(tmp_path):
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "src.train"]
    words = [*TINY, *TWO_STEPS, "training.devices=2", IN_PLACE]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*line, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote checkpoints/best_model.pth") == 1
    (result,) = results(tmp_path)
    assert result["processes"] == 2


@pytest.mark.slow
def test_srun(tmp_path):
    """With the variables that srun sets for two tasks on each of one machine."""
    words = [sys.executable, "-m", "src.train", *TINY, *TWO_STEPS, "training.devices=2", IN_PLACE]
    step = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1"}
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NAME": "svq", "SLURM_NODELIST": "127.0.0.1"}
    tasks = []
    for number in ("0", "1"):
        task = {"SLURM_PROCID": number, "SLURM_LOCALID": number, "SLURM_NODEID": "0", "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **step, **job, **task, "PYTHONPATH": str(ROOT)}
        tasks.append(subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True))
    errors = [task.communicate(timeout=280)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], errors
    (result,) = results(tmp_path)
    assert result["processes"] == 2


UNREACHABLE = """
from datetime import timedelta
from src.configs.errors import ConfigError
from src.training import engine
from tests.training.tiny import tiny_config

engine.TIMEOUT = timedelta(seconds=1)
try:
    engine.make_fabric(tiny_config("training.num_nodes=2"))
except ConfigError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_first_machine_that_does_not_answer_is_one_line():
    nobody = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9", "NODE_RANK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", UNREACHABLE], cwd=ROOT, env={**os.environ, **nobody}, capture_output=True, text=True
    )
    assert done.stdout.startswith("the 2 processes did not come together at MASTER_ADDR=127.0.0.1 and MASTER_PORT=9")
    assert done.stdout.count("\n") == 1


def learned(rank: int, world_size: int, images: Tensor) -> dict[str, Tensor]:
    """The weights after a few steps of a hand-written loop, sharded among the processes where there are several."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = SVQ(16, num_slots=3, slot_size=8, num_codebooks=2, codebook_size=8, code_dim=4, hidden_dim=8)
    if world_size > 1:
        fully_shard(model, mesh=init_device_mesh("cpu", (world_size,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # Adam would blow up what is rounding error only
    for batch in images:
        own = batch[rank::world_size]
        loss, _ = model.compute_loss(own, model(own))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))


def _learn_sharded(rank: int, address: str, images: Tensor, path: Path) -> None:
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    weights = learned(rank, 2, images)
    if rank == 0:
        torch.save(weights, path)
    dist.barrier()  # a process that leaves while another still talks to it may abort
    dist.destroy_process_group()


@pytest.mark.slow
def test_fsdp_in_a_loop_of_ones_own(tmp_path):
    images = torch.rand(5, 8, 3, 16, 16)
    mp.spawn(_learn_sharded, ((tmp_path / "meeting").as_uri(), images, tmp_path / "weights.pt"), nprocs=2)
    found, expected = torch.load(tmp_path / "weights.pt"), learned(0, 1, images)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


# ------------------------------------------------------------------------------------------------- sweeps


def test_the_launcher_asks_slurm_for_what_the_run_uses():
    launcher = composed("hydra/launcher=svq_slurm", "training.devices=4", "training.num_nodes=2").launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.nodes, launcher.tasks_per_node, launcher.gpus_per_node) == (2, 4, 4)


def test_the_search_space_is_made_of_settings():
    sweeper = composed("hydra/sweeper=svq_optuna", "name=search").sweeper
    assert sweeper._target_.endswith("OptunaSweeper") and sweeper.study_name == "search"
    for key in sweeper.params:
        tiny_config(f"{key}=0.1")


@pytest.mark.parametrize(("group", "name", "plugin"), [("sweeper", "svq_optuna", "optuna"), ("launcher", "rq", "rq")])
def test_a_missing_plugin_is_one_line(monkeypatch, group, name, plugin):
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"][group], f"{plugin}.yaml", raising=False)
    with pytest.raises(
        ConfigError, match=f"hydra/{group}/{plugin} is a plugin of Hydra that is not installed; .*sweep"
    ):
        tiny_config(f"hydra/{group}={name}")


def test_no_slurm_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no srun, on a cluster either
    done = command("train", "-m", "hydra/launcher=svq_slurm", "seed=0,1", *TINY, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: hydra/launcher: this machine has no SLURM")
    assert "hydra/launcher=submitit_local" in done.stderr


@pytest.mark.slow
def test_a_sweep_with_optuna(tmp_path):
    words = [*TINY, *TWO_STEPS, "hydra/sweeper=svq_optuna", "hydra.sweeper.storage=sqlite:///sweep.db"]
    for trials, total in ((2, 2), (1, 3)):  # the second call goes on with the study
        done = command("train", "-m", *words, f"hydra.sweeper.n_trials={trials}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found = results(tmp_path)
        assert len(found) == total == len({result["config"]["training"]["learning_rate"] for result in found})
    summary = sorted(tmp_path.rglob("optimization_results.yaml"))[-1]
    best = yaml.safe_load(summary.read_text())
    assert best["best_value"] == min(result["objective"] for result in found)
    assert best["best_value"] == min(result["validation"]["autoencoder_recon_loss"] for result in found)
    assert not (tmp_path / "checkpoints").exists() and len(list(tmp_path.rglob(BEST))) == 3


@pytest.mark.slow
def test_a_sweep_after_a_number_that_no_run_has(tmp_path):
    words = ["hydra/sweeper=svq_optuna", "hydra.sweeper.n_trials=1", "objective=validation.los"]
    done = command("train", "-m", *TINY, *TWO_STEPS, *words, "training.prior.steps=0", cwd=tmp_path)
    assert done.returncode == 1
    assert "objective=validation.los is no number in results.json of this run" in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == "error: no trial of the sweep came to its end; the lines above say why"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="submitit runs on POSIX systems")
def test_runs_of_a_multirun_as_jobs(tmp_path):
    """submitit sends the same job to SLURM that it starts here itself."""
    done = command("train", "-m", "hydra/launcher=submitit_local", "seed=0,1", *TINY, *TWO_STEPS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(result["seed"] for result in results(tmp_path)) == [0, 1]
