"""The first signal waits for the step to end; the second does not."""

from __future__ import annotations

import signal

import pytest

from src.configs.termination import Terminated
from src.training.stop import StopRequest


@pytest.mark.parametrize(("second", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_second_signal_ends_at_once_and_as_what_it_is(second: int, raised: type[KeyboardInterrupt]) -> None:
    stop = StopRequest()
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as ended, stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.number == signal.SIGINT
        signal.raise_signal(second)
    assert type(ended.value) is raised
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
