"""Where in a file of Python the parts of a domain are declared, found in its syntax tree.

A declaration is the call of its class: `Window(name="orders", ...)` is found by `Window` and by its
first value, inside the declarations around it. One that is made in another way (in a loop, by a
function) isn't found; then the nearest one around it is, or nothing.

Calls that Python itself would refuse are found here, too, all at once: Python stops at the first.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from dataflows.problems import Problem, nearest

_ROOMS = ("dataflows", "operators")
_SPECS = (
    "spec",
    "value_spec",
    "filter_spec",
    "session_spec",
    "feature_spec",
    "figure_spec",
    "reference_spec",
)


class DeclaredAt:
    """The declarations of one file.

    Args:
        source: Its text.

    Raises:
        SyntaxError: It is no Python.
    """

    def __init__(self, source: str) -> None:
        self._tree = ast.parse(source)

    def line_of(self, problem: Problem) -> int | None:
        """Return the line of what is wrong, as near as it can be told; None where it can't."""
        place = -1 if problem.again else 0
        around: ast.AST = self._tree
        for declared in problem.inside:
            calls = _calls_of(around, declared)
            if not calls:  # as of values that several windows share, above them
                everywhere = _calls_of(self._tree, declared)
                calls = everywhere if len(everywhere) == 1 else []
            if calls:
                around = calls[place]
        if problem.word is not None:
            words = [node.lineno for node in _constants(around) if _is(node, problem.word)]
            if words and (around is not self._tree or len(words) == 1):
                return words[place if around is self._tree else 0]
        if around is self._tree:
            domains = [node.lineno for node in _calls(around) if _called(node) == "Domain"]
            return domains[0] if len(domains) == 1 else None
        return getattr(around, "lineno", None)

    def refused(self) -> Iterator[tuple[int, Problem]]:
        """Yield what Python will refuse of imports and calls of declarations, with its line."""
        known: dict[str, type] = {}
        for node in ast.walk(self._tree):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            if node.module.partition(".")[0] in _ROOMS:
                try:
                    module = importlib.import_module(node.module)
                except ModuleNotFoundError:
                    yield node.lineno, Problem(f"there is no module {node.module}")
                    continue
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        hint = _home_of(alias.name) or nearest(
                            alias.name, [n for n in vars(module) if n[0].isupper()]
                        )
                        yield node.lineno, Problem(f"{node.module} has no {alias.name}", hint)
                    else:
                        known[alias.asname or alias.name] = getattr(module, alias.name)
        for call in _calls(self._tree):
            kind = known.get(_called(call))
            if kind is not None and is_dataclass(kind):
                yield from _misfits(call, kind)


def _home_of(name: str) -> str:
    """Return which module declares this, in words; "" if none does."""
    for part in _SPECS:
        module = importlib.import_module(f"operators.{part}")
        if getattr(vars(module).get(name), "__module__", "") == module.__name__:
            return f"{module.__name__} has it"
    return ""


def _misfits(call: ast.Call, kind: type) -> Iterator[tuple[int, Problem]]:
    parameters = inspect.signature(kind).parameters
    by_place = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    given = by_place[: len(call.args)]
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return
    if len(call.args) > len(by_place):
        hint = "name each value, as name=..." if not by_place else f"they are {', '.join(by_place)}"
        what = f"{kind.__name__} takes {len(by_place)} values by place, not {len(call.args)}"
        yield call.lineno, Problem(what, hint)
    for keyword in call.keywords:
        if keyword.arg is None:
            return  # ** may bring all that seems to be missing
        if keyword.arg not in parameters:
            hint = nearest(keyword.arg, parameters, otherwise="it has")
            yield keyword.lineno, Problem(f"{kind.__name__} has no {keyword.arg!r}", hint)
        elif keyword.arg in given:
            yield (
                keyword.lineno,
                Problem(f"{kind.__name__} gets {keyword.arg!r} twice", "by place and by name"),
            )
        given.append(keyword.arg)
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in given]
    if missing:
        what = f"{kind.__name__} needs {', '.join(repr(name) for name in missing)}"
        yield call.lineno, Problem(what)


def _calls_of(around: ast.AST, declared: object) -> list[ast.Call]:
    """Return the calls that declare this, by class and first value, in the order of the file."""
    if not is_dataclass(declared):
        return []
    name = fields(declared)[0].name
    value = getattr(declared, name)
    found = []
    for call in _calls(around):
        if call is not around and _called(call) == type(declared).__name__:
            named = [keyword.value for keyword in call.keywords if keyword.arg == name]
            first = [*named, *call.args][:1]
            if first and isinstance(first[0], ast.Constant) and _is(first[0], value):
                found.append(call)
    return found


def _calls(around: ast.AST) -> list[ast.Call]:
    calls = [node for node in ast.walk(around) if isinstance(node, ast.Call)]
    return sorted(calls, key=lambda call: (call.lineno, call.col_offset))


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _constants(around: ast.AST) -> list[ast.Constant]:
    constants = [node for node in ast.walk(around) if isinstance(node, ast.Constant)]
    return sorted(constants, key=lambda one: (one.lineno, one.col_offset))


def _is(node: ast.Constant, value: object) -> bool:
    return type(node.value) is type(value) and node.value == value
