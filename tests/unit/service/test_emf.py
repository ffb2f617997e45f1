"""Lines for CloudWatch obey its specification, and tell what the metrics say."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import metrics
from service.emf import EMITTED, METRICS_A_LINE, Emf, Emitted, Look, documents

# Of the schema in that page, those that have to do with kinewax.
UNITS = {"Seconds", "Milliseconds", "Bytes", "Percent", "Count", "Count/Second", "None"}
Samples = dict[str, list[tuple[dict[str, str], float]]]


def violations(document: Any) -> list[str]:
    """Return what is wrong by the "Specification: Embedded metric format" of CloudWatch's guide."""
    found = []
    metadata = document["_aws"]
    if type(metadata["Timestamp"]) is not int or metadata["Timestamp"] < 10**12:
        found.append("Timestamp is no number of milliseconds")
    if set(metadata) != {"Timestamp", "CloudWatchMetrics"}:
        found.append("unknown members of _aws")
    for directive in metadata["CloudWatchMetrics"]:
        if set(directive) != {"Namespace", "Dimensions", "Metrics"}:
            found.append("members of a directive")
        if not 1 <= len(directive["Namespace"]) <= 1024:
            found.append("Namespace")
        if not directive["Dimensions"] or len(directive["Metrics"]) > 100:
            found.append("no dimension set, or too many metrics")
        for dimensions in directive["Dimensions"]:
            if len(dimensions) > 30:
                found.append("more than 30 dimensions")
            for name in dimensions:
                value = document.get(name)
                if not isinstance(value, str) or not 1 <= len(value) <= 1024:
                    found.append(f"dimension {name} is {value!r}")
        for definition in directive["Metrics"]:
            value = document.get(definition["Name"])
            if isinstance(value, bool) or not isinstance(value, int | float):
                found.append(f"metric {definition['Name']} is {value!r}")
            if definition["Unit"] not in UNITS:
                found.append(f"unit {definition['Unit']}")
    if len(json.dumps(document)) > 1_000_000:
        found.append("longer than 1 MB")
    return found


def look(at_seconds: float, samples: Samples) -> Look:
    return Look(at_seconds, samples)


def every_metric(value: float, **labels: str) -> Samples:
    """Return a series for each emitted metric, and a second one with other labels."""
    samples: Samples = {}
    for one in EMITTED:
        for other in ("x", "y"):
            own = dict.fromkeys(one.metric._labelnames, other) | dict(one.where) | labels
            samples.setdefault(one.sample, []).append((own, value))
    return samples


def told(now: Look, before: Look) -> dict[tuple[str, str], float]:
    """Return each value by the metric's name and the further dimensions."""
    found = {}
    for document in documents(now, before, "shop", "kinewax"):
        (directive,) = document["_aws"]["CloudWatchMetrics"]
        (names,) = directive["Dimensions"]
        rest = ",".join(document[name] for name in names if name != "Domain")
        for definition in directive["Metrics"]:
            found[definition["Name"], rest] = document[definition["Name"]]
    return found


EMPTY = look(1_800_000_000, {})


def test_every_line_obeys_the_specification():
    made = list(documents(look(1_800_000_060, every_metric(3)), EMPTY, "shop", "kinewax"))

    assert {one.name for one in EMITTED} <= {name for document in made for name in document}
    assert [violations(document) for document in made] == [[]] * len(made)
    assert all(len(json.dumps(document)) < 4096 for document in made)


def test_the_checker_of_these_tests_finds_what_is_wrong():
    now = look(1_800_000_060, {"kinewax_restarts_total": [({}, 1.0)]})
    (made,) = documents(now, EMPTY, "shop", "kinewax")
    assert not violations(made)
    assert violations(made | {"fullRestarts": "1"})
    assert violations(made | {"Domain": ""})
    made["_aws"]["Timestamp"] = 1.5
    assert violations(made)


def test_texts_that_are_too_long_are_cut_and_empty_ones_left_out():
    samples: Samples = {
        "kinewax_incidents_total": [({"rule": "r" * 5000, "severity": "", "phase": "final"}, 2.0)]
    }
    (made,) = documents(look(1_800_000_060, samples), EMPTY, "shop", "kinewax")

    assert not violations(made)
    assert made["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Domain", "Rule"]]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_left_out(value: float):
    samples: Samples = {"kinewax_snapshot_age_seconds": [({}, value)]}

    assert not list(documents(look(1_800_000_060, samples), EMPTY, "shop", "kinewax"))


def test_many_metrics_of_the_same_dimensions_are_spread_over_lines(
    monkeypatch: pytest.MonkeyPatch,
):
    many = tuple(Emitted(f"m{n}", metrics.restarts, "sum", "Count") for n in range(250))
    monkeypatch.setattr("service.emf.EMITTED", many)
    samples: Samples = {"kinewax_restarts_total": [({}, 1.0)]}
    made = list(documents(look(1_800_000_060, samples), EMPTY, "shop", "kinewax"))

    assert len(made) == math.ceil(250 / METRICS_A_LINE)
    assert sum(len(one["_aws"]["CloudWatchMetrics"][0]["Metrics"]) for one in made) == 250
    assert not [wrong for one in made for wrong in violations(one)]


def test_counts_are_of_the_time_since_the_last_line():
    def at(seconds: float, late: tuple[float, float], read: float) -> Look:
        return look(
            1_800_000_000 + seconds,
            {
                "kinewax_late_events_total": [
                    ({"domain": "shop", "window": "a"}, late[0]),
                    ({"domain": "shop", "window": "b"}, late[1]),
                ],
                "kinewax_source_records_total": [({"stream": "s", "shard": "0"}, read)],
            },
        )

    first, second = at(60, (1, 2), 600), at(90, (1, 7), 900)

    assert told(first, EMPTY) == {
        ("numLateRecordsDropped", ""): 3,
        ("numRecordsInPerSecond", ""): 10,
    }
    assert told(second, first) == {
        ("numLateRecordsDropped", ""): 5,
        ("numRecordsInPerSecond", ""): 10,
    }


def test_names_of_flink_have_its_units_and_meaning():
    now = look(
        1_800_000_060,
        {
            "kinewax_kinesis_max_behind_latest_seconds": [
                ({"stream": "s"}, 1.5),
                ({"stream": "other"}, 0.0),
            ],
            "kinewax_watermark_lag_seconds": [({"domain": "shop"}, 12.0)],
            "kinewax_restarts_total": [({}, 4.0)],
        },
    )

    assert told(now, EMPTY) == {
        ("millisBehindLatest", "s"): 1500,
        ("millisBehindLatest", "other"): 0,
        ("currentInputWatermark", ""): 1_800_000_048_000,
        ("fullRestarts", ""): 4,
    }


def test_incidents_are_counted_once_each_by_rule_and_severity():
    def series(phase: str, severity: str, count: float) -> tuple[dict[str, str], float]:
        labels = {"domain": "shop", "rule": "r", "severity": severity, "phase": phase}
        return labels, count

    samples = {
        "kinewax_incidents_total": [
            series("open", "warning", 9),
            series("final", "warning", 5),
            series("final", "high", 4),
        ]
    }

    assert told(look(1_800_000_060, samples), EMPTY) == {
        ("incidents", "r,warning"): 5,
        ("incidents", "r,high"): 4,
    }


def test_nothing_is_by_shard_or_by_key():
    dimensions = {label for one in EMITTED for label in one.by}

    assert dimensions == {"stream", "rule", "severity", "sink"}
    assert all(set(one.by) | set(one.where) <= set(one.metric._labelnames) for one in EMITTED)


def test_the_last_lines_are_written_when_it_ends():
    lines: list[bytes] = []
    with Emf(_registry(), "shop", "kinewax", 3600, write=lines.append):
        assert not lines
    assert {name for line in lines for name in json.loads(line)} >= {"fullRestarts", "Domain"}


def test_without_an_interval_nothing_is_written():
    lines: list[bytes] = []
    with Emf(_registry(), "shop", "kinewax", 0, write=lines.append):
        pass
    assert not lines


def test_an_output_that_is_gone_ends_the_lines_and_not_the_run(caplog: pytest.LogCaptureFixture):
    def gone(_: bytes) -> None:
        raise BrokenPipeError

    with Emf(_registry(), "shop", "kinewax", 3600, write=gone):
        pass
    assert "can't be written any more" in caplog.text


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(metrics.restarts)
    return registry
