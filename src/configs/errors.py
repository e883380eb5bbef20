"""What a command stops with: one clear line and an exit code, instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 500  # characters of a line; PyTorch lists every tensor that does not fit


class CommandError(Exception):
    """Stops a command; the message is the one line the user sees."""

    exit_code = 1

    def __init__(self, message: object) -> None:
        super().__init__(" ".join(str(message).split()))


class ConfigError(CommandError):
    """A setting or an argument cannot be used."""

    exit_code = 2


class Interrupted(CommandError):
    """The user or the system stopped the command; the work so far is saved."""

    def __init__(self, message: object, signal_number: int = 2) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


@contextmanager
def as_config_error() -> Iterator[None]:
    """Turns what data and models raise about their arguments into a `ConfigError`."""
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError, ImportError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system's, not one of ours: `configs.launch` says which setting led there
        line = str(error)
        raise ConfigError(line if len(line) <= LONGEST else f"{line[:LONGEST]} ...") from error
