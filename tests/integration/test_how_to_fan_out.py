"""The commands of docs/how-to/enhanced-fan-out.md, run one after the other against a local server.

AWS's command line isn't here: each command is read as it would be, to the operation and parameters
of botocore's own description of the service, and called by boto3.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore import xform_name

from tests.servers import Clients

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "enhanced-fan-out.md"
COMMAND = re.compile(r"^(?:(?P<name>[A-Z_]+)=\$\()?aws kinesis (?P<rest>[^\n)]+)\)?$", re.MULTILINE)


class CommandLine:
    """Runs `aws kinesis ...` lines; keeps the variables that they set."""

    def __init__(self, client: Any, **variables: str) -> None:
        self.client = client
        self.variables = variables

    def run(self, name: str | None, command: str) -> dict[str, Any]:
        operation, *words = shlex.split(command)
        flags = dict(zip(words[::2], words[1::2], strict=True))
        query = flags.pop("--query", None)
        assert flags.pop("--output", None) == ("text" if query else None)
        method = operation.replace("-", "_")
        model = self.client.meta.service_model.operation_model(
            self.client.meta.method_to_api_mapping[method]
        )
        members = {f"--{xform_name(one, '-')}": one for one in model.input_shape.members}
        reply: dict[str, Any] = getattr(self.client, method)(
            **{members[flag]: self.filled_in(value) for flag, value in flags.items()}
        )
        if name is not None:
            assert query is not None
            found: Any = reply
            for part in query.split("."):  # the page's queries go down by names only
                found = found[part]
            self.variables[name] = found
        return reply

    def filled_in(self, value: str) -> str:
        return self.variables.get(value.removeprefix("$"), value)


def names(reply: dict[str, Any]) -> list[str]:
    return [consumer["ConsumerName"] for consumer in reply["Consumers"]]


def test_a_consumer_is_found_and_deregistered_as_the_page_says(
    ministack: Clients, unique_name: Callable[[str], str]
) -> None:
    stream = unique_name("stream")
    kinesis = ministack("kinesis")
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    kinesis.register_stream_consumer(StreamARN=summary["StreamARN"], ConsumerName="fraud-alerts")
    line = CommandLine(kinesis, STREAM=stream)

    commands = [match.group("name", "rest") for match in COMMAND.finditer(PAGE.read_text())]
    replies = [line.run(name, rest) for name, rest in commands]

    assert len(commands) == 4
    assert line.variables["STREAM_ARN"] == summary["StreamARN"]
    assert names(replies[1]) == ["fraud-alerts"]
    assert names(replies[3]) == []
