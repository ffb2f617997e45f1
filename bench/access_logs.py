"""How many access-log lines a CPU-second, from a payload buffer to columns of codes and numbers.

Input: blocks of 1 MiB, as the file source gives them, of two logs: `seed`, generated lines in the
form of the original's generator, and `elastic`, 10,000 real lines, where the file is at hand. Ours
is `AccessLogDecoder`, with three sets of columns: `columns`, what domains count by (client, time,
method, path, query, protocol, status, bytes, referrer, agent, vhost, X-Forwarded-For); `all`, which
adds user, status class and the whole request; `original`, what the original's pre-processor made.
Beside it, in turns, Python's `re` with a pattern for the combined format: its groups as bytes, no
times, no numbers, no codes, and no odd lines.

Texts that were met before are cheap, so a log is decoded once before the measurement. The other end
is `new_texts`: every line has a path, and so a request, that no line had before.
"""

from __future__ import annotations

import json
import re
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from operators.access_log import FIELDS, TIME, AccessLogFormat
from operators.access_log_decode import AccessLogDecoder
from operators.access_log_seed import SEED
from operators.codes import TextCodes
from operators.spec import Field
from payloads import Lines
from producers.access_logs import Website
from producers.crowd import Traffic

ELASTIC = (
    Path(__file__).resolve().parents[2]
    / "shared" / "data" / "access_logs" / "elastic_apache_logs_10k.log"
)  # fmt: skip
LINES = 200_000
_BLOCK_BYTES = 1024 * 1024
_ROUNDS = 7
_NOT_COUNTED_BY = ("user", "request", "status_class")
_COLUMNS = tuple(field for field in FIELDS if field.name not in _NOT_COUNTED_BY)
_COMBINED = re.compile(
    rb'(\S+) (\S+) (\S+) \[([^\]]+)\] "(\S+) (\S+) (\S+)" (\d{3}) (\d+|-) "([^"]*)" "([^"]*)"?'
)


def run() -> dict[str, Any]:
    """Measure both logs."""
    logs = {"seed": _seed_lines()}
    if ELASTIC.exists():
        logs["elastic"] = ELASTIC.read_bytes().splitlines()
    rates: dict[tuple[str, str], list[int]] = {}
    for name, lines in logs.items():
        blocks = _blocks(lines)
        works: dict[str, Callable[[], int]] = {
            "columns": _decoding(blocks, _COLUMNS),
            "all": _decoding(blocks, FIELDS),
            "original": _decoding(blocks, tuple(one for one in FIELDS if one.name in SEED.fields)),
            "re": lambda blocks=blocks: _by_re(blocks),  # type: ignore[misc]
        }
        for _ in range(_ROUNDS):  # in turns, so that a busy neighbour slows all of them
            for kind, work in works.items():
                rates.setdefault((name, kind), []).append(_rate(work))
    rates["seed", "new_texts"] = [_new_texts() for _ in range(_ROUNDS)]
    medians = {key: round(statistics.median(found)) for key, found in rates.items()}
    metrics = {f"{log}_{kind}_lines_per_cpu_second": medians[log, kind] for log, kind in medians}
    worst = min(rate for (_, kind), rate in medians.items() if kind == "columns")
    runs = [
        {"log": log, "kind": kind, "lines_per_cpu_second": rate}
        for (log, kind), found in rates.items()
        for rate in found
    ]
    return {
        "metrics": {
            "events_per_cpu_second": worst,
            **metrics,
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        },
        "runs": runs,
    }


def _seed_lines() -> list[bytes]:
    """Generate ten minutes of a site with all kinds of attacks."""
    traffic = Traffic(
        start_us=1_767_225_600_000_000,
        duration_us=600_000_000,
        rate=LINES / 600,
        events=LINES,
        users=10_000,
        attackers=4,
    )
    site = Website(traffic, seed=1)
    return [record.payload for record in site.advance(traffic.start_us + 600_000_000)]


def _blocks(lines: Sequence[bytes]) -> list[Lines]:
    """Put lines into buffers as large as the file source's."""
    blocks: list[Lines] = []
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line) + 1
        if size >= _BLOCK_BYTES:
            blocks.append(Lines(b"\n".join(held)))
            held, size = [], 0
    return [*blocks, Lines(b"\n".join(held))] if held else blocks


def _decoding(blocks: Sequence[Lines], fields: Sequence[Field]) -> Callable[[], int]:
    decoder = AccessLogDecoder(fields, TIME, TextCodes(), AccessLogFormat())

    def decode() -> int:
        found = [decoder.decode(block, None) for block in blocks]
        if any(decoded.rejected for decoded in found):
            msg = "a good line was rejected"
            raise AssertionError(msg)
        return sum(len(decoded.times_us) for decoded in found)

    return decode


def _by_re(blocks: Sequence[Lines]) -> int:
    match = _COMBINED.match
    return sum(1 for block in blocks for line in block if (found := match(line)) and found.groups())


def _new_texts() -> int:
    """Decode lines whose paths are all new, of a table that doesn't know them yet."""
    lines = [
        line.replace(b" HTTP/", b"/%d HTTP/" % number)
        for number, line in enumerate(_seed_lines()[: LINES // 4])
    ]
    work = _decoding(_blocks(lines), FIELDS)
    begun = time.process_time()
    return round(work() / (time.process_time() - begun))


def _rate(work: Callable[[], int]) -> int:
    """Return how many lines a CPU-second, after one run that isn't counted."""
    work()
    begun = time.process_time()
    done = 0
    while time.process_time() - begun < 0.3:
        done += work()
    return round(done / (time.process_time() - begun))


if __name__ == "__main__":
    print(json.dumps(run()["metrics"], indent=2))
