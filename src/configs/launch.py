"""From a Hydra config to one call: composes, types and checks it; one line and an exit code for a mistake.

Exit codes: 0 done, 1 failed, 2 a setting or an argument cannot be used, 130 interrupted (Ctrl-C), 143 terminated.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import hydra
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from .errors import CommandError, ConfigError, Interrupted
from .mistakes import explain_hydra, explain_list, nearest, unreadable
from .schema import TrainConfig, check, check_together, is_folder_name, register
from .termination import signal_of, terminable

Config = TypeVar("Config")
Main = Callable[[Config], float | None]

NOT_PRIMARY = (
    "the config that --config-name gives lacks the defaults: begin it with `# @package _global_` and "
    "`defaults: [/config, _self_]` as experiment/my_experiment.yaml does, or choose it as an option, "
    "such as model=base"
)

PLUGIN = (
    "is a plugin of Hydra that is not installed; the extra `sweep` has the launchers joblib, submitit_local and "
    "submitit_slurm and the sweeper optuna: pip install -e '.[sweep]'"
)

NO_SLURM = (
    "hydra/launcher: this machine has no SLURM (no srun is found); start the command where sbatch works, or run the "
    "same jobs on this machine with hydra/launcher=submitit_local"
)

# what OmegaConf calls the kinds of values
KINDS = {"integer": "a whole number", "float": "a number"}

# what mistakes in settings and their files raise: wrong names and values, files that are no YAML or no text
OF_SETTINGS = (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError)

# Set beside HYDRA_FULL_ERROR: a process that this one starts, of a training in several, sees that no user asked for it.
OURS = "SVQ_SET_HYDRA_FULL_ERROR"

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE)  # no other path would be better


def conf_folder() -> Path:
    """conf/ at the top of the clone, or its copy inside the installed package."""
    package = Path(__file__).resolve().parents[1]
    return package.parent / "conf" if __package__ == "src.configs" else package / "conf"


def primaries() -> list[str]:
    """What --config-name may give besides a command's own."""
    return [f"experiment/{path.stem}" for path in sorted((Path(__file__).parent / "experiment").glob("*.yaml"))]


class ConfSearchPath(SearchPathPlugin):
    """Adds conf/ to where Hydra looks."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("svq-conf", f"file://{conf_folder().as_posix()}")


def run_folder(log_dir: str, name: str) -> str:
    """<log_dir>/<name>. Hydra makes it before the settings are checked, so what would lead elsewhere stops here."""
    if not log_dir.strip():
        raise ConfigError("log_dir is empty; give a path, such as log_dir=logs")
    if not is_folder_name(name):
        raise ConfigError(f"name={name!r} is no name of one folder; give one without slashes, such as name=svq")
    return f"{log_dir}/{name}"


Plugins.instance().register(ConfSearchPath)
OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
register()


def command(config_name: str, schema: type[Config]) -> Callable[[Main[Config]], Callable[[], None]]:
    """Makes `main(config: schema)` a command that composes `config_name` from the command line.

    `main` gets a checked object of `schema`; `invocation` tells it the rest. What it raises as `CommandError`
    ends the process with one line; what it returns is what a sweeper of Hydra looks at.
    """

    def decorate(main: Main[Config]) -> Callable[[], None]:
        wants_traceback, process = False, 0

        @functools.wraps(main)  # Hydra finds the folder of the configs through the wrapped function
        def task(composed: DictConfig) -> float | None:
            config = None
            try:
                config = to_object(composed, schema)
                return main(config)
            except Interrupted as stop:
                if os.getpid() != process:
                    raise  # in a job of its own; the process that waits for it says so
                _stop(stop)  # whoever stops a run of a multirun means all of them
            except (CommandError, OSError) as error:
                if wants_traceback or HydraConfig.get().mode == RunMode.MULTIRUN:
                    raise  # in a multirun Hydra ends the other jobs first
                refused = as_command_error(error, config)
                if isinstance(refused, ConfigError):
                    _remove_if_empty(Path(HydraConfig.get().runtime.output_dir))
                _stop(refused)

        @functools.wraps(main)
        def entry() -> None:
            nonlocal wants_traceback, process
            process = os.getpid()
            wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0") and OURS not in os.environ
            if not wants_traceback:  # otherwise Hydra prints several lines and exits with 1
                os.environ.update({"HYDRA_FULL_ERROR": "1", OURS: "1"})
            try:
                _refuse_unknown_flags(sys.argv[1:])
                with terminable():
                    hydra.main(version_base="1.3", config_path="configs", config_name=config_name)(task)()
            except (*OF_SETTINGS, CommandError, OSError) as error:
                if wants_traceback:
                    raise
                _stop(as_command_error(error))
            except (ValueError, RuntimeError) as error:
                if wants_traceback:
                    raise
                if "No trials are completed" in str(error):  # so says Optuna
                    _stop(CommandError("no trial of the sweep came to its end; the lines above say why"))
                if 'Could not detect "srun"' in str(error):  # so says submitit
                    _stop(ConfigError(NO_SLURM))
                raise
            except KeyboardInterrupt as error:
                hint = "; training.resume=auto goes on from last.pth, if there is one"
                _stop(Interrupted("interrupted" + (hint if config_name == "train" else ""), signal_of(error)))

        return entry

    return decorate


@dataclass(frozen=True)
class Invocation:
    """How a command was called: where it may write, whether it is one of several runs of a process and so keeps its
    checkpoints there too, how to call it again."""

    run_dir: Path
    own_checkpoints: bool = False
    command: str = "python -m src.train"

    @property
    def checkpoints(self) -> Path:
        """Where one of several runs keeps them."""
        return self.run_dir / "checkpoints"


def invocation() -> Invocation:
    """That of the running Hydra command."""
    settings = HydraConfig.get()
    job = str(settings.job.name)
    words = [f"python -m src.{job}" if __package__ == "src.configs" else f"svq-{job}"]
    if settings.job.config_name != job:
        words.append(f"--config-name={settings.job.config_name}")
    run_dir, several = Path(settings.runtime.output_dir), settings.mode == RunMode.MULTIRUN
    overrides = [word for word in settings.overrides.task if not word.startswith("training.resume=")]
    if several:  # called again, it is one run that goes on where this one keeps its checkpoints
        overrides = [word for word in overrides if not word.startswith("checkpoint_dir=")]
        overrides.append(f"checkpoint_dir={run_dir / 'checkpoints'}")
    words += map(shlex.quote, overrides)
    return Invocation(run_dir, several, " ".join(words))


def to_object(composed: DictConfig, schema: type[Config]) -> Config:
    """The composed config as a checked object of `schema`.

    Raises:
        ConfigError: a value is missing, unknown or out of range, or the config is not one of this command.
    """
    if OmegaConf.get_type(composed) is not schema:
        raise ConfigError(NOT_PRIMARY)
    try:
        _refuse_added_keys(composed)
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    check(config)
    if isinstance(config, TrainConfig):
        check_together(config)
    assert isinstance(config, schema)
    return config


def compose_config(words: Sequence[str] = (), config_name: str = "train") -> TrainConfig:
    """The settings of `python -m src.train --config-name=<config_name> <words>`, for use in Python and in a command.

    Raises:
        ConfigError: as the command says it.
    """
    return compose_settings(config_name, words, TrainConfig)


def compose_settings(config_name: str, words: Sequence[str], schema: type[Config]) -> Config:
    """As `compose_config`, of any command, whose settings `schema` are.

    Raises:
        ConfigError: as the command says it.
    """
    if isinstance(words, str):  # whose letters would be taken for settings
        raise ConfigError(f"words={words!r} is no list of settings; give [{words!r}]")
    running = GlobalHydra.instance().hydra  # of the command that asks, if there is one
    GlobalHydra.instance().clear()
    try:
        _refuse_odd(words)
        with hydra.initialize_config_dir(str(Path(__file__).parent), version_base="1.3"):
            return to_object(hydra.compose(config_name, list(words)), schema)
    except OF_SETTINGS as error:
        raise as_command_error(error) from error
    finally:
        GlobalHydra.instance().hydra = running


def plain(config: Any) -> dict[str, Any]:
    """A config object as nested plain dictionaries, to be saved."""
    return asdict(config)


def as_command_error(error: Exception, config: Any = None) -> CommandError:
    """What Hydra, OmegaConf or the file system raised, as one line and an exit code; the settings in `config`, if it is
    known, are looked through for the path that led there."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, OSError) and not isinstance(error, HydraException):  # a missing config is both
        if error.errno not in FULL and (setting := _path_behind(error.filename, config)):
            return ConfigError(
                f"{setting} cannot be used ({error.strerror}: {error.filename}); give one that can be written"
            )
        return CommandError(f"{error.strerror or error}: {error.filename}" if error.filename else error)
    return ConfigError(explain(error))


def _path_behind(filename: Any, config: Any, prefix: str = "") -> str | None:
    """key=value of the setting whose path holds a file, or lies in it."""
    if config is None or not isinstance(filename, (str, os.PathLike)):
        return None
    file = Path(filename).absolute()
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            if found := _path_behind(filename, value, f"{prefix}{entry.name}."):
                return found
        elif "path" in entry.metadata and value:
            path = Path(value).absolute()
            if file.is_relative_to(path) or (path.is_relative_to(file) and file != Path.cwd()):
                return f"{prefix}{entry.name}={value}"
    return None


def explain(error: BaseException) -> str:
    """One line for what Hydra or OmegaConf raised: the key, what is wrong with it, what would be right."""
    message = str(error)
    if isinstance(error, UnicodeDecodeError):
        return f"a file of settings is no text ({error}); save it as UTF-8"
    if isinstance(error, OverrideParseException):
        return unreadable(error.override)
    if refused := re.search(r"ConfigError raised while resolving interpolation: (.*)", message):
        return refused[1]
    cause = error.__cause__
    if "raised while composing config" in message:  # there Hydra keeps what OmegaConf said as context only
        cause = cause or error.__context__
    if isinstance(error, OmegaConfBaseException):
        cause = error
    if not isinstance(cause, OmegaConfBaseException):
        if missing := re.search(r"Could not (?:find|load) '(hydra/(?:launcher|sweeper)/\w+)'", message):
            return f"{missing[1]} {PLUGIN}"
        said = " ".join(message.split("Config search path:")[0].split())
        return explain_hydra(said, primaries()) or said
    where = message.split(":")[0] + ": " if message.startswith("In '") else ""
    return where + _explain_value(cause)


def _explain_value(cause: OmegaConfBaseException) -> str:
    key = str(cause.full_key or cause.key or "")
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and is_dataclass(cause.object_type):
        known = [entry.name for entry in fields(cause.object_type)]
        return unknown_key(key, known)
    reason = str(cause.msg or cause).split("\n")[0]
    if reason.endswith("is not in struct"):
        return f"{key} is not a setting here; {NOT_PRIMARY}"
    if reason.endswith("is not Optional"):
        return f"{key}: null is not allowed here"
    if wrong := re.match(r"Value '(.*)' (?:of type .* could not be converted to|is not a valid) (\w+)", reason):
        return f"{key}={wrong[1]} cannot be used; give {KINDS.get(wrong[2].lower(), wrong[2])}"
    if said := explain_list(key, reason, cause.value):
        return said
    return f"{key}: {reason}" if key and key not in reason else reason


def unknown_key(key: str, known: list[str]) -> str:
    """One line for a key that is not in the schema, with the nearest one that is."""
    parent, _, name = key.rpartition(".")
    may_be_an_experiment = "training" in known and key != "experiment"  # which is no setting, but chosen like one
    close = nearest(name, [*known, "experiment"] if may_be_an_experiment else known, cutoff=0.6)
    hint = f"did you mean {parent + '.' if parent else ''}{close}? " if close else ""
    advice = "; begin a file of experiment/ with `# @package _global_`" if "experiment" in key.split(".") else ""
    return f"{key} is not a setting; {hint}{parent or 'the config'} has: {', '.join(known)}{advice}"


def _refuse_added_keys(node: DictConfig, prefix: str = "") -> None:
    """`+key=value` on the command line gets past the schema; it would be read by nobody."""
    kind = OmegaConf.get_type(node)
    known = [entry.name for entry in fields(kind)] if is_dataclass(kind) else []
    for key in node:
        if key not in known:
            raise ConfigError(unknown_key(f"{prefix}{key}", known))
        if not OmegaConf.is_missing(node, key) and OmegaConf.is_dict(node[key]):
            _refuse_added_keys(node[key], f"{prefix}{key}.")


def _refuse_unknown_flags(words: list[str]) -> None:
    """What Hydra would say in several lines."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        left = message.removeprefix("unrecognized arguments: ").split()
        if all("=" in word and not word.startswith("-") for word in left):
            raise ConfigError(f"{' '.join(left)}: all settings go together; put flags such as -m before them")
        raise ConfigError(f"{message}; settings are given as key=value, and --help lists what else there is")

    parser.error = refuse
    _refuse_odd(parser.parse_args(words).overrides)


def _refuse_odd(words: Sequence[str]) -> None:
    """What Hydra takes for mistakes of its own: =value, and for the name of a file of settings what is none."""
    groups = {path.name for folder in (Path(__file__).parent, conf_folder()) for path in folder.iterdir()}
    for word, override in zip(words, OverridesParser.create().parse_overrides(list(words)), strict=True):
        if not override.key_or_group.strip():
            raise ConfigError(f"{word!r} names no setting; settings are given as key=value")
        if override.is_delete() and not override.key_or_group.startswith("hydra"):
            raise ConfigError(f"{word} takes away what has to be there; give {override.key_or_group} another value")
        is_group = override.key_or_group in groups or "/" in override.key_or_group
        if not is_group or override.is_sweep_override() or override.is_delete():
            continue
        value = override.value()
        names = value if isinstance(value, list) else [value]
        if not isinstance(value, dict) and not all(isinstance(name, str) for name in names):
            raise ConfigError(f"{word} names no file of settings; give such as data=shapes")


def _remove_if_empty(run_dir: Path) -> None:
    """Removes the folder of a run that was refused, <log_dir>/<name>/<time>, and <name>, unless something else is in
    them than what Hydra put there."""
    hydras = [path for path in run_dir.glob("*.log") if not path.stat().st_size]
    hydras += [run_dir / ".hydra" / f"{name}.yaml" for name in ("config", "hydra", "overrides")]
    here = Path.cwd().is_relative_to(run_dir.parent)  # hydra.run.dir may lead anywhere
    if not here and {path for path in run_dir.rglob("*") if not path.is_dir()} <= set(hydras):
        with contextlib.suppress(OSError):  # the first that something else is in, or that is open elsewhere
            for path in hydras:
                path.unlink(missing_ok=True)
            for folder in (run_dir / ".hydra", run_dir, run_dir.parent):
                if folder.exists():
                    folder.rmdir()


def _stop(error: CommandError) -> Any:
    if str(error):  # of several processes that stop together one has said why
        print(f"error: {error}" if error.exit_code <= 2 else str(error), file=sys.stderr)
    sys.exit(error.exit_code)
