"""The command line of commands without a config: as `argparse` reads it, but a mistake is one line, as everywhere."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Stops with exit code 2 and one line; the usage is what `--help` shows."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {' '.join(message.split())}; --help says what can be given\n")
