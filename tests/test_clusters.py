"""What docs/clusters.md says of torchrun, SLURM and sweeps, as far as one machine can show it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore

from src.configs.errors import ConfigError
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


@pytest.mark.slow
def test_a_sweep_with_optuna(tmp_path):
    words = [*TINY, *TWO_STEPS, "hydra/sweeper=svq_optuna", "hydra.sweeper.storage=sqlite:///sweep.db"]
    for first in (0, 2):  # the second call goes on with the study
        done = command("train", "-m", *words, "hydra.sweeper.n_trials=2", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found = results(tmp_path)
        assert len(found) == first + 2 == len({result["config"]["training"]["learning_rate"] for result in found})
    summary = sorted(tmp_path.rglob("optimization_results.yaml"))[-1]
    best = yaml.safe_load(summary.read_text())
    assert best["best_value"] == min(result["objective"] for result in found)
    assert best["best_value"] == min(result["validation"]["autoencoder_recon_loss"] for result in found)
    assert not (tmp_path / "checkpoints").exists() and len(list(tmp_path.rglob(BEST))) == 4


@pytest.mark.slow
def test_a_sweep_after_a_number_that_no_run_has(tmp_path):
    words = ["hydra/sweeper=svq_optuna", "hydra.sweeper.n_trials=1", "objective=validation.los"]
    done = command("train", "-m", *TINY, *TWO_STEPS, *words, "training.prior.steps=0", cwd=tmp_path)
    assert done.returncode == 1
    assert "objective=validation.los is no number in the table of this run" in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == "error: no trial of the sweep came to its end; the lines above say why"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="submitit runs on POSIX systems")
def test_runs_of_a_multirun_as_jobs(tmp_path):
    """submitit sends the same job to SLURM that it starts here itself."""
    done = command("train", "-m", "hydra/launcher=submitit_local", "seed=0,1", *TINY, *TWO_STEPS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(result["seed"] for result in results(tmp_path)) == [0, 1]
