"""Errors, seen before the engine loses them.

When a step of a cluster raises, Bytewax 0.21.1 ends all processes with `Send thread panic: Any` and
the error itself is gone. So before a flow runs, each callable that the engine will call is wrapped:
an error is reported first and raised on. The engine checks its objects' types, so methods are
wrapped on the objects themselves. It happens once a step, part or key, and costs one Python call
for each call of the engine, which brings a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

Report = Callable[[BaseException], None]
# `Any` throughout: these are the engine's untyped operators and whatever functions they were given.

_SOURCE_PART = ("next_batch", "next_awake", "snapshot", "close")
_SINK_PART = ("write_batch", "snapshot", "close")
_LOGIC = ("on_batch", "on_notify", "on_eof", "notify_at", "snapshot")


def watch(flow: Any, report: Report) -> None:
    """Wrap all that the engine will call in `flow`, so that `report` sees each error first."""
    for step in _steps(flow):
        for name, parts in (("source", _SOURCE_PART), ("sink", _SINK_PART)):
            if hasattr(step, name):
                whole = getattr(step, name)
                _wrap_methods(whole, ("list_parts", "part_fn"), report)
                _wrap_maker(whole, "build_part", parts, report)
        for name in ("mapper", "builder"):
            if hasattr(step, name):
                made = _LOGIC if name == "builder" else ()
                wrapped = _wrapped(getattr(step, name), made, report)
                object.__setattr__(step, name, wrapped)  # the engine's steps are frozen


def _steps(step: Any) -> Iterator[Any]:
    for inner in step.substeps:
        yield inner
        yield from _steps(inner)


def _wrapped(function: Any, methods_of_result: tuple[str, ...], report: Report) -> Any:
    @functools.wraps(function)
    def inner(*arguments: Any, **named: Any) -> Any:
        try:
            result = function(*arguments, **named)
        except StopIteration:
            raise  # how a source says that it ends
        except Exception as error:
            report(error)
            raise
        _wrap_methods(result, methods_of_result, report)
        return result

    return inner


def _wrap_methods(target: Any, names: tuple[str, ...], report: Report) -> None:
    for name in names:
        if hasattr(target, name):
            setattr(target, name, _wrapped(getattr(target, name), (), report))


def _wrap_maker(target: Any, name: str, made: tuple[str, ...], report: Report) -> None:
    setattr(target, name, _wrapped(getattr(target, name), made, report))
