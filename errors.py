"""Every error that kinewax raises, and who handles it.

    KinewaxError                 the command line prints it as one line and a hint
    ├── SettingsError            exit 2: the user mends a setting
    ├── MissingResourceError     exit 3: the user creates a stream, table, topic ...
    ├── LayoutError              exit 2: the recovery store was written by another layout
    ├── DataLossError            exit 1: records expired unread and `on_data_loss` is `fail`
    ├── UnreadableInputError     exit 4: done, but objects could not be read
    ├── DifferenceError          exit 5: done, but a replay found other things than the live run
    ├── DeliveryError            the supervisor restarts from the last snapshot
    ├── DrainError               exit 75: stopped, but the last epoch was not committed
    └── CrashLoopError           exit 70: five starts without a committed epoch

Only what a caller can act on gets a class. Each message says what to do next.
"""

from __future__ import annotations


class KinewaxError(Exception):
    """The root: catching it catches all that kinewax raises on purpose.

    Args:
        message: What is wrong, in one line, with the names involved.
        hint: What to do next, in one line; empty where the message says it all.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SettingsError(KinewaxError):
    """Settings are wrong; `problems` holds one line each, with its origin."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems or (message,)


class MissingResourceError(KinewaxError):
    """A stream, table, topic, bucket or file that must exist doesn't."""

    exit_code = 3


class LayoutError(KinewaxError):
    """The recovery store belongs to another layout: slots, groups, domain or stream differ."""

    exit_code = 2


class DataLossError(KinewaxError):
    """Records expired before they were read, and the policy is to stop."""


class DeliveryError(KinewaxError):
    """A sink could not write within its deadline; the epoch is not committed."""


class UnreadableInputError(KinewaxError):
    """A replay is done, but part of its input could not be read; the summary names it."""

    exit_code = 4


class StoppedError(KinewaxError):
    """A replay was told to stop before it had read its archive; what was read is accounted for."""

    exit_code = 75


class DifferenceError(KinewaxError):
    """A replay is done, but differs from the live run by more than that run's late events."""

    exit_code = 5


class DrainError(KinewaxError):
    """A drain ended before the last epoch was committed; the next start reads it again."""

    exit_code = 75


class CrashLoopError(KinewaxError):
    """The processes died again and again without committing an epoch."""

    exit_code = 70
