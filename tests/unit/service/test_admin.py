import json
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.multiprocess import mark_process_dead

from errors import SettingsError
from service.admin import Admin, failing_liveness, failing_readiness
from service.supervisor import Health
from service.version import installed_version

GOOD = Health(alive=2, polled=2, still_seconds=0.1, draining=False)


class Service:
    """An admin port over a health that the test sets."""

    def __init__(self, metrics_directory: Path) -> None:
        self.health = GOOD
        self.admin = Admin(
            "127.0.0.1",
            0,
            health=lambda: self.health,
            config={"sinks.table": {"value": "t", "origin": "default"}},
            metrics_directory=metrics_directory,
            processes=2,
            epoch_seconds=5,
        )

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.admin.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def service(tmp_path: Path):
    made = Service(tmp_path)
    with made.admin:
        yield made


def test_a_free_port_on_loopback_is_taken_and_told(service: Service) -> None:
    assert service.admin.url.startswith("http://127.0.0.1:")
    assert not service.admin.url.endswith(":0")


def test_a_service_that_reads_is_live_and_ready(service: Service) -> None:
    assert service.get("/livez") == (200, '{"ok":true,"failing":{}}')
    assert service.get("/readyz") == (200, '{"ok":true,"failing":{}}')


@pytest.mark.parametrize(
    ("health", "check"),
    [
        (Health(2, 2, 0.0, draining=True), "draining"),
        (Health(1, 1, 0.0, draining=False), "workers"),
        (Health(2, 0, 0.0, draining=False), "reading"),
    ],
)
def test_a_service_that_is_not_ready_says_why_and_stays_live(
    service: Service, health: Health, check: str
) -> None:
    service.health = health

    status, body = service.get("/readyz")

    assert status == 503
    assert list(json.loads(body)["failing"]) == [check]
    assert service.get("/livez")[0] == 200


def test_a_worker_that_stands_still_for_six_intervals_is_not_live(service: Service) -> None:
    service.health = Health(2, 2, 30.5, draining=False)

    status, body = service.get("/livez")

    assert status == 503
    assert "stood still for 30 s" in json.loads(body)["failing"]["moving"]
    assert not failing_liveness(Health(2, 2, 29.0, draining=False), 5)


def test_lag_is_no_reason_to_be_unready() -> None:
    assert not failing_readiness(Health(2, 2, 29.0, draining=False), 2)


def test_settings_are_told_with_their_origins(service: Service) -> None:
    status, body = service.get("/config")

    assert status == 200
    assert json.loads(body) == {"sinks.table": {"value": "t", "origin": "default"}}


def test_the_version_is_told(service: Service) -> None:
    assert json.loads(service.get("/version")[1]) == {"version": installed_version()}


def test_a_standstill_is_a_metric_while_it_lasts(service: Service) -> None:
    service.health = replace(GOOD, still_seconds=42)
    assert "kinewax_epoch_stall_seconds 42.0" in service.get("/metrics")[1]
    service.health = GOOD
    assert "kinewax_epoch_stall_seconds 0.1" in service.get("/metrics")[1]


def test_a_series_that_a_worker_ended_is_not_shown(service: Service, tmp_path: Path) -> None:
    program = (
        "import math, metrics;"
        "metrics.mover_change.labels('shop', 'brands', 'views', 'gone').set(math.nan);"
        "metrics.mover_change.labels('shop', 'brands', 'views', 'there').set(3)"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        check=True,
    )
    text = service.get("/metrics")[1]
    assert 'key="there",value="views"} 3.0' in text
    assert "gone" not in text


def test_metrics_of_all_processes_are_merged(service: Service, tmp_path: Path) -> None:
    program = (
        "import metrics;"
        "metrics.events.labels('ecommerce').inc(21);"
        "metrics.watermark_lag_seconds.labels('ecommerce').set(3)"
    )
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
            check=True,
        )

    status, text = service.get("/metrics")

    assert status == 200
    lines = text.splitlines()
    assert 'kinewax_events_total{domain="ecommerce"} 42.0' in lines
    assert f'kinewax_build_info{{version="{installed_version()}"}} 1.0' in lines
    assert any(line.startswith("kinewax_restarts_total ") for line in lines)
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)), "a metric is told twice"


def test_series_of_a_shard_that_is_read_no_more_are_left_out(
    service: Service, tmp_path: Path
) -> None:
    program = (
        "import metrics;"
        "metrics.source_records.labels('s', 'shard-1').inc(3);"
        "metrics.source_records.labels('s', 'shard-2').inc(4);"
        "metrics.source_records.labels('other', 'shard-1').inc(5);"
        "metrics.kinesis_prefetch_bytes.labels('s', 'shard-1').set(metrics.CLOSED);"
        "metrics.kinesis_prefetch_bytes.labels('s', 'shard-2').set(7);"
        "metrics.kinesis_prefetch_bytes.labels('other', 'shard-1').set(0);"
        "metrics.source_errors.labels('s', 'timeout').inc()"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        check=True,
    )

    lines = service.get("/metrics")[1].splitlines()

    assert 'kinewax_source_records_total{shard="shard-2",stream="s"} 4.0' in lines
    assert 'kinewax_source_records_total{shard="shard-1",stream="other"} 5.0' in lines
    assert 'kinewax_source_errors_total{error_type="timeout",stream="s"} 1.0' in lines
    assert not [line for line in lines if 'shard="shard-1",stream="s"' in line]


def test_series_of_a_shard_that_was_read_to_its_end_before_a_restart_stay_left_out(
    service: Service, tmp_path: Path
) -> None:
    before = (
        "import metrics;"
        "metrics.source_records.labels('s', 'shard-1').inc(3);"
        "metrics.source_records.labels('s', 'shard-2').inc(4);"
        "metrics.kinesis_prefetch_bytes.labels('s', 'shard-1').set(metrics.CLOSED);"
        "metrics.kinesis_prefetch_bytes.labels('s', 'shard-2').set(0)"
    )
    after = (
        "import metrics;"
        "metrics.source_records.labels('s', 'shard-2').inc(5);"
        "metrics.kinesis_prefetch_bytes.labels('s', 'shard-2').set(0)"
    )
    for program in (before, after):
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        )
        assert process.wait() == 0
        if program is before:
            mark_process_dead(process.pid, str(tmp_path))  # type: ignore[no-untyped-call]

    lines = service.get("/metrics")[1].splitlines()

    assert 'kinewax_source_records_total{shard="shard-2",stream="s"} 9.0' in lines
    assert not [line for line in lines if "shard-1" in line]


def test_a_port_that_is_taken_is_a_settings_error(service: Service) -> None:
    port = int(service.admin.url.rpartition(":")[2])

    with pytest.raises(SettingsError, match=r"can't listen on 127\.0\.0\.1 port"):
        Admin(
            "127.0.0.1",
            port,
            health=lambda: GOOD,
            config={},
            metrics_directory=Path(),
            processes=1,
            epoch_seconds=5,
        )
