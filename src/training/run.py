"""A whole run: data, both phases, the scores and the pictures."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..configs.errors import ConfigError
from ..configs.launch import Invocation, plain
from ..configs.schema import TrainConfig
from ..configs.termination import signal_of, terminable
from ..data.base import SceneDataset
from ..models.catalogue import arguments_of
from ..models.svq_model import SVQ
from ..utils.whole_files import is_same_file, remove_drafts
from .autoencoder import merge_codes, merged_size, train_autoencoder
from .board import Board
from .build import check_sizes, make_model, make_split, prepare
from .checkpoint import (
    AUTOENCODER,
    BEST,
    EVALUATION,
    FINISHED,
    LAST,
    PRIOR,
    TrainingState,
    find_resume,
    unfinished,
)
from .engine import make_fabric, reproducible, together
from .finish import finish
from .loop import stop_signal
from .prior import add_prior, train_prior
from .results import hardware
from .session import Session


def train(config: TrainConfig, call: Invocation) -> dict[str, Any]:
    """Trains as `config` says, writes results.json and pictures into `call.run_dir`, and returns the results.

    Raises:
        ConfigError: a setting that cannot be used, or a checkpoint that cannot be resumed.
        CommandError: training failed (NaN).
        Interrupted: a signal stopped it.
    """
    started = time.perf_counter()
    checkpoint_dir = call.checkpoints if call.own_checkpoints else Path(config.checkpoint_dir)
    check_sizes(config)
    fabric = make_fabric(config, one_of_several=call.own_checkpoints)
    resumed = find_resume(config.training.resume, checkpoint_dir, plain(config))
    train_data, val_data = make_split(config.data, "train"), make_split(config.data, "val")
    model = make_model(config.model)
    checkpoint_dir.mkdir(parents=True, exist_ok=True)  # now, not after the first thousand steps
    if fabric.is_global_zero:
        for name in (BEST, LAST):
            remove_drafts(checkpoint_dir / name)
    state: TrainingState = resumed["training_state"] if resumed else TrainingState()

    with (
        together(fabric, checkpoint_dir / LAST),
        Board(call.run_dir, enabled=fabric.is_global_zero) as board,
    ):
        session = Session(
            config, fabric, model, state, board, call.run_dir, checkpoint_dir, call.command, started=started
        )
        _announce(session, resumed["path"] if resumed else None)
        if resumed:
            if state.phase != AUTOENCODER:
                if number := merged_size(model, config.training):
                    model.merge_codes(number)  # the weights that come next are of so many
                if config.training.prior.steps:
                    add_prior(session)
            try:
                model.load_state_dict(resumed["model_state_dict"])
            except RuntimeError as error:
                raise ConfigError(f"the weights to go on from do not fit this version of the model: {error}") from error
            session.restore_files(resumed["path"])
        with fabric.rank_zero_first(local=True) if train_data.shares_cache else nullcontext():
            for line in prepare(val_data, train_data, show=fabric.is_global_zero):
                session.say(line)
        with session.stop, reproducible():
            run_phases(session, train_data, val_data)
        results = finish_or_stop(session, train_data, val_data)
        session.state.start_phase(FINISHED)
        session.save_last()
    return results


def run_phases(session: Session, train_data: SceneDataset, val_data: SceneDataset) -> None:
    """From wherever the run stands to the best weights of both phases in the model."""
    state = session.state
    if state.phase == AUTOENCODER:
        train_autoencoder(session, train_data, val_data)
        session.load_best()
        if number := merged_size(session.model, session.config.training):
            merge_codes(session, number, val_data)
        if session.config.training.prior.steps:
            add_prior(session)
            state.start_phase(PRIOR)
        else:
            state.start_phase(EVALUATION)
    session.model.to(session.fabric.device)
    if state.phase == PRIOR:
        train_prior(session, train_data, val_data)
        state.start_phase(EVALUATION)
    session.load_best()
    session.save_last()


def finish_or_stop(session: Session, train_data: SceneDataset, val_data: SceneDataset) -> dict[str, Any]:
    """The results, which the first process makes and the others wait for; they stop together.

    Raises:
        Interrupted: a signal asked for it, also one that came too late for the last phase.
    """
    fabric, results, number = session.fabric, {}, stop_signal(session)
    if fabric.is_global_zero and not number:
        try:
            with terminable():  # unlike a step of training nothing of this has to come to its end
                results = finish(session, train_data, val_data)
        except KeyboardInterrupt as error:
            number = signal_of(error)
    with session.stop:  # what the other processes are told meanwhile, the first one is told too
        results, number = fabric.broadcast((results, number))
    if number:
        when, kept = "while the trained model was scored", f"{session.best_path} is kept"
        if session.scored:
            when, kept = "while pictures were drawn", f"{session.best_path} and {session.results_path} are kept"
        raise session.stopped(when, number, kept)
    return results


def _announce(session: Session, resumed: Path | None) -> None:
    """Says what begins or goes on, and what it will replace."""
    state, fabric = session.state, session.fabric
    where = f"{fabric.device} ({hardware(fabric.device)}), precision {fabric._precision.precision}"
    session.say(f"{session.config.name}, seed {session.config.seed}, on {where}; logs in {session.run_dir}")
    kind = session.config.model.kind
    if kind != SVQ.kind:  # the schema's keys are its arguments
        session.say(f"of the settings model.*, kind={kind} reads {', '.join(arguments_of(kind))} and no others")
    last = session.last_path
    if resumed is not None:
        session.say(f"going on from {resumed}: {_reached(state, session.config)}")
        if not is_same_file(resumed, last):
            other = unfinished(session.checkpoint_dir)
            replaced = f", and replaces the unfinished run there ({_reached(other)})" if other is not None else ""
            session.say(f"from here on it is kept in {session.checkpoint_dir}{replaced}")
        return
    if session.config.training.resume == "auto":
        why = f"the run of {last} has finished" if last.exists() else f"there is no {last}"
        session.say(f"training.resume=auto finds nothing to go on from: {why}")
    if (other := unfinished(session.checkpoint_dir)) is not None:
        session.say(
            f"starting anew: {last} of an unfinished run ({_reached(other)}) and {BEST} will be replaced "
            "(training.resume=auto would have gone on with it)"
        )
    elif session.best_path.exists():
        session.say(f"starting anew: {session.best_path} will be replaced at the first validation")


def _reached(state: TrainingState, config: TrainConfig | None = None) -> str:
    """How far a run has come and, where its settings are known, what is next."""
    if state.phase not in (AUTOENCODER, PRIOR):
        scores = config is not None and config.evaluation.enabled
        return "training has ended" + (", scores are next" if scores else "")
    reached = f"{state.phase}, after step {state.step}"
    if config is None:
        return reached
    prior = config.training.prior.steps
    steps = config.training.steps if state.phase == AUTOENCODER else prior
    prior_is_next = state.phase == AUTOENCODER and state.step == steps and prior
    return f"{reached} of {steps}" + (f", {PRIOR} is next" if prior_is_next else "")
