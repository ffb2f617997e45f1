"""Nothing that a run was told in confidence, and nothing of what it reads, is in what it says."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.fakes.fault_proxy import fault_proxy
from tests.rig import Aws, Names, Service, event, wait_until
from tests.servers import free_port

KEY, PASSWORD, PAYLOAD = "kTopSecretKey00", "pTopSecretPass00", "dPrivatePayload00"
SECRETS = {"a key of AWS": KEY, "a password": PASSWORD, "a payload": PAYLOAD}


def test_logs_settings_and_metrics_hold_no_key_no_password_and_no_payload(
    ministack: Any, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    aws = Aws(ministack, Names.made_by(unique_name), shards=1)
    now = datetime.now(UTC)
    good = {**event(1, now), "brand": PAYLOAD}
    payloads = [
        json.dumps(good),
        json.dumps({**good, "txn_timestamp": "2019-11-01T00:00:00"}),  # late
        json.dumps({**good, "user_id": {"name": PAYLOAD}}),
        PAYLOAD,
    ]
    port = free_port()
    with fault_proxy(aws.clients.endpoint) as proxy:
        for action in ("PutRecordBatch", "PutRecords"):
            proxy.fail_entries(action, "InternalFailure", lambda number, _: True, times=2)
        service = Service(
            arguments=[
                *("--verbose", "run", "ecommerce", "--source", f"kinesis://{aws.names.stream}"),
                *("--sinks", f"aws,file://{tmp_path / 'out'}"),
                *("--start", "TRIM_HORIZON", "--epoch-interval", "1s", "--disorder", "2s"),
                *("--endpoint-url", proxy.url.replace("://", f"://operator:{PASSWORD}@")),
                *("--admin-port", str(port)),
            ],
            environment={**aws.names.settings(), "AWS_SECRET_ACCESS_KEY": KEY},
            log=tmp_path / "service.log",
        )
        service.start()
        try:
            aws.clients("kinesis").put_records(
                StreamName=aws.names.stream,
                Records=[{"Data": text.encode(), "PartitionKey": "1"} for text in payloads],
            )
            rejects = tmp_path / "out" / "dead-letters.jsonl"
            wait_until(
                lambda: rejects.exists() and len(rejects.read_text().splitlines()) == 2,
                "both bad records are dead letters",
            )
            said = {
                page: urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}").read().decode()
                for page in ("config", "metrics", "readyz")
            }
            assert service.drain() == 0
        finally:
            service.kill()
    said["log"] = service.log.read_text()

    assert "***@" in said["config"]
    assert "kinewax_rejected_records_total" in said["metrics"]
    assert len(said["log"].splitlines()) > 5
    told = {
        (page, what) for page, text in said.items() for what, it in SECRETS.items() if it in text
    }
    assert told == set()


def test_an_endpoint_that_nobody_answers_at_is_named_without_its_password(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    service = Service(
        arguments=[
            *("--verbose", "run", "ecommerce", "--source", "kinesis://a", "--sinks", "stdout"),
            *("--endpoint-url", f"http://operator:{PASSWORD}@{nobody}"),
        ],
        environment={
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": KEY,
        },
        log=tmp_path / "service.log",
    )
    service.start()
    assert service.process is not None
    assert service.process.wait(60) != 0
    said = service.log.read_text()

    assert f"http://***@{nobody}" in said
    assert "Traceback" in said
    assert PASSWORD not in said
    assert KEY not in said
