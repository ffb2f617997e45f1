"""What can be wrong with the declaration of figures and movers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dataflows.problems import Problem, nearest
from operators.figure_spec import Figure, Movers
from operators.spec import Window
from operators.value_spec import Count, First, Last, Sum


def figure_problems(figure: Figure | Movers, windows: Mapping[str, Window]) -> Iterator[Problem]:
    """Find what is wrong with a figure, or with movers.

    Args:
        figure: Which.
        windows: The domain's windows, by name.
    """
    is_figure = isinstance(figure, Figure)
    what, inside = f"the {'figure' if is_figure else 'movers'} of {figure.window!r}", (figure,)
    window = windows.get(figure.window)
    if window is None:
        hint = nearest(figure.window, windows)
        yield Problem(f"{what}: there is no such window", hint, inside, figure.window)
        return
    if not window.emit or window.top:
        hint = "let it write all its rows (emit=True, top=0)"
        yield Problem(f"{what} needs rows that the window doesn't write", hint, inside)
    values = {value.name: value for value in window.values}
    for name in figure.values if isinstance(figure, Figure) else (figure.value,):
        value = values.get(name)
        if value is None:
            yield Problem(f"{what}: no value {name!r}", nearest(name, values), inside, name)
        elif window.key and not isinstance(value, Count | Sum):
            hint = "name counts and sums, or a window without a key"
            yield Problem(f"{what}: {name} of many keys can't be added up", hint, inside, name)
        elif isinstance(value, First | Last):
            yield Problem(f"{what}: {name} is no number", "", inside, name)
    if isinstance(figure, Figure):
        if figure.by and figure.by.field not in window.key:
            hint = nearest(figure.by.field, window.key)
            yield Problem(
                f"{what}: {figure.by.field!r} is no part of its key",
                hint,
                (figure, figure.by),
                figure.by.field,
            )
        return
    if len(window.key) != 1:
        yield Problem(f"{what} needs a window of one key field", "", inside)
    if window.groups != 1:
        hint = "declare it with groups=1"
        yield Problem(f"{what} needs a window whose keys are all in one group", hint, inside)
    if figure.most < 1:
        yield Problem(f"{what} names nobody", "most is 1 at least", inside, figure.most)
