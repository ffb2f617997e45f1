"""What a board is made of, and the JSON that Grafana imports (10.0 and later, schema version 38).

A panel answers one question; its title is a phrase, its description says what to look for. Queries
name metrics by the objects of metrics.py, so that none can be of a metric that isn't there.

Panels stand in rows from left to right, 24 columns wide. Nothing here has an id of a server, of a
data source or of a user: the data source is chosen on the board.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import Counter, Gauge, Histogram

Json = dict[str, Any]  # as Grafana has it
Kind = Literal["stat", "timeseries", "bargauge", "heatmap", "table"]

COLUMNS = 24
_SCHEMA_VERSION = 38
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLOURS = ("green", "orange", "red")


@dataclass(frozen=True, slots=True)
class Query:
    """One query, and what its series are called."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: A phrase.
        doc: What it says, and what to look for.
        queries: What is shown.
        unit: One of Grafana's: `s`, `bytes`, `Bps`, `reqps`, `short`, `percentunit`, `none` ...
        kind: How it is shown.
        width: Columns, of 24.
        height: Rows of a board's grid, about 30 pixels each.
        limits: Where it turns orange, then red; one is red at once.
        stacked: Whether series stand on each other.
    """

    title: str
    doc: str
    queries: tuple[Query, ...]
    unit: str
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    limits: tuple[float, ...] = ()
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One board.

    Attributes:
        name: In its address, and its file's.
        title: What people call it.
        doc: Which question it answers.
        rows: Panels that stand beside each other.
        since: How far back it looks at first.
    """

    name: str
    title: str
    doc: str
    rows: tuple[tuple[Panel, ...], ...]
    since: str = "now-3h"


def of(metric: Counter | Gauge | Histogram, part: str = "", **labels: str) -> str:
    """Return the selector of a metric, of the jobs that the board shows.

    Args:
        metric: Which; of a histogram its `part`: bucket, sum or count.
        part: As above.
        labels: Further conditions: a value, or `~` and a pattern.
    """
    (family,) = metric.describe()
    suffix = {"counter": "_total", "histogram": f"_{part}"}.get(family.type, "")
    wanted = {"job": "~$job"} | labels
    conditions = ", ".join(
        f'{label}=~"{value[1:]}"' if value.startswith("~") else f'{label}="{value}"'
        for label, value in wanted.items()
    )
    return f"{family.name}{suffix}{{{conditions}}}"


def recorded(name: str) -> str:
    """Return the selector of a series of deploy/prometheus/recording.yml."""
    return f'{name}{{job=~"$job"}}'


def rate(selector: str) -> str:
    """Return the rate of a counter, a second."""
    return f"rate({selector}[$__rate_interval])"


def quantile(share: float, metric: Histogram, *by: str) -> str:
    """Return a quantile of a histogram, by some of its labels."""
    labels = ", ".join((*by, "le"))
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(of(metric, 'bucket'))}))"


def as_json(board: Board) -> Json:
    """Return a board as Grafana imports it."""
    panels: list[Json] = []
    top = 0
    for row in board.rows:
        left = 0
        for panel in row:
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            panels.append(_panel(panel, len(panels) + 1, place))
            left += panel.width
        top += max(panel.height for panel in row)
    return {
        "uid": f"kinewax-{board.name}",
        "title": f"kinewax / {board.title}",
        "description": board.doc,
        "tags": ["kinewax"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,  # one cross-hair on all panels
        "refresh": "30s",
        "time": {"from": board.since, "to": "now"},
        "timezone": "utc",
        "links": [
            {
                "type": "dashboards",
                "title": "kinewax",
                "tags": ["kinewax"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_data_source(), _jobs()]},
        "panels": panels,
    }


def _data_source() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    }


def _jobs() -> Json:
    query = "label_values(kinewax_build_info, job)"
    return {
        "name": "job",
        "label": "Job",
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "jobs"},
        "refresh": 2,  # whenever the time range changes
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def _panel(panel: Panel, number: int, place: Json) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.doc,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        "targets": [
            _target(panel.kind, *one) for one in zip("ABCDEF", panel.queries, strict=False)
        ],
        **({"transformations": _without_noise()} if panel.kind == "table" else {}),
    }


def _target(kind: Kind, letter: str, query: Query) -> Json:
    now = kind in ("table", "bargauge")
    formats = {"table": "table", "heatmap": "heatmap"}
    return {
        "refId": letter,
        "datasource": _SOURCE,
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "format": formats.get(kind, "time_series"),
        "instant": now,
        "range": not now,
    }


def _defaults(panel: Panel) -> Json:
    colours = ("green", "red") if len(panel.limits) == 1 else _COLOURS
    steps: list[Json] = [{"color": "green", "value": None}]
    steps += [
        {"color": colour, "value": limit}
        for colour, limit in zip(colours[1:], panel.limits, strict=False)
    ]
    defaults: Json = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
    }
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.limits else "off"},
        }
    return defaults


def _options(panel: Panel) -> Json:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "stat":
            return {
                "reduceOptions": last,
                "colorMode": "value",
                "graphMode": "area",
                "textMode": "auto",
                "justifyMode": "auto",
                "orientation": "auto",
            }
        case "bargauge":
            return {
                "reduceOptions": last,
                "displayMode": "basic",
                "orientation": "horizontal",
                "showUnfilled": False,
            }
        case "heatmap":
            return {
                "calculate": False,
                "cellGap": 1,
                "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
                "yAxis": {"unit": panel.unit, "reverse": False},
                "rowsFrame": {"layout": "le"},
                "tooltip": {"show": True, "yHistogram": False},
                "legend": {"show": True},
            }
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }


def _without_noise() -> Sequence[Json]:
    hidden = ("Time", "Value", "__name__", "instance", "job", "alertstate")
    return [{"id": "organize", "options": {"excludeByName": dict.fromkeys(hidden, True)}}]
