"""What the destinations of a domain's results are called, if a run says nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Names of AWS resources, each the default of the setting `sinks.` with its name.

    With the names that it had before, a pipeline moves over and touches nothing. One that is ""
    has no default: a run that writes there must name it.

    Attributes:
        table: DynamoDB table of incidents.
        topic: SNS topic of notices.
        namespace: CloudWatch namespace.
        metric: CloudWatch metric that counts incidents.
        stream: Kinesis stream that gets one row an incident.
        aggregates: Firehose delivery stream of the aggregates.
        events: Firehose delivery stream of single events.
        dead_letters: Firehose delivery stream of rejected records and late events.
    """

    table: str = ""
    topic: str = ""
    namespace: str = ""
    metric: str = ""
    stream: str = ""
    aggregates: str = ""
    events: str = ""
    dead_letters: str = ""

    @property
    def settings(self) -> Iterator[tuple[str, str]]:
        """Yield each setting that has a default here, and the name."""
        for field in fields(self):
            if name := getattr(self, field.name):
                yield f"sinks.{field.name}", name


UNNAMED = Destinations()
"""A run names all that it writes to."""
