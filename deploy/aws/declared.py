"""What the templates in this folder repeat of declarations: names of a domain, its raw table. Pure.

`make docs` writes it: `parameters/DOMAIN.json` for the templates, with the names that kinewax takes
by default, and `raw-tables.yaml`, Glue's tables by which Firehose writes Parquet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from dataflows.domain import Domain
from producers.demo_plans import PLANS
from service.settings import load
from service.warehouse.athena import DATABASE, stored_type
from service.warehouse.tables import Events

_HEAD = """\
# Written by `make docs` from dataflows/ and deploy/aws/declared.py: change those instead.
#
# Glue's tables by which Firehose writes a raw archive in Parquet, and Athena reads it: for
# pipeline.yaml with RawArchive=parquet. Partitions are projected, nothing crawls.
AWSTemplateFormatVersion: "2010-09-09"
Description: "kinewax: tables of raw archives in Parquet"

Parameters:
  ArchiveBucket:
    Type: String
    Description: Output of pipeline.yaml
  Database:
    Type: String
    Default: {database}

Resources:
  Kinewax:
    Type: AWS::Glue::Database
    Properties:
      CatalogId: !Ref AWS::AccountId
      DatabaseInput: {{Name: !Ref Database}}
"""
_TABLE = """\
  {resource}:
    Type: AWS::Glue::Table
    Properties:
      CatalogId: !Ref AWS::AccountId
      DatabaseName: !Ref Kinewax
      TableInput:
        Name: {name}
        TableType: EXTERNAL_TABLE
        Parameters:
          classification: parquet
          projection.enabled: "true"
          projection.delivered_on.type: date
          projection.delivered_on.format: yyyy/MM/dd
          projection.delivered_on.range: 2026/01/01,NOW
          projection.delivered_on.interval: "1"
          projection.delivered_on.interval.unit: DAYS
          storage.location.template: !Sub "s3://${{ArchiveBucket}}/{prefix}/${{!delivered_on}}/"
        PartitionKeys:
          - {{Name: delivered_on, Type: string}}
        StorageDescriptor:
          Location: !Sub "s3://${{ArchiveBucket}}/{prefix}/"
          InputFormat: org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat
          OutputFormat: org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat
          SerdeInfo:
            SerializationLibrary: org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe
          Columns:
{columns}
"""


def parameters(domain: Domain) -> str:
    """Return the names of a domain's pipeline, as `aws cloudformation deploy` takes them."""
    plain = domain.name.replace("_", "-")
    plan = PLANS.get(domain.name)
    sinks = load(domain=domain).settings.sinks
    names = {
        "Domain": domain.name,
        "Stream": (plan.stream if plan else "") or f"{plain}-events",
        "Table": sinks.table or f"{plain}-incidents",
        "Topic": sinks.topic or f"{plain}-incidents",
        "Namespace": sinks.namespace or f"{plain}-kinewax",
        "Metric": sinks.metric or f"{plain}-incidents",
        "SecondStream": sinks.stream,
        "Aggregates": sinks.aggregates or f"{plain}-aggregates",
        "Events": sinks.events or (f"{plain}-single-events" if domain.written else ""),
        "DeadLetters": sinks.dead_letters or f"{plain}-dead-letters",
    }
    given = {name: value for name, value in names.items() if value}
    return json.dumps({"Parameters": given}, indent=2) + "\n"


def raw_tables(every_events: Sequence[Events]) -> str:
    """Return the template of all raw tables."""
    return _HEAD.format(database=DATABASE) + "".join(map(_table, every_events))


def _table(events: Events) -> str:
    return _TABLE.format(
        resource=f"{events.domain.title().replace('_', '')}Raw",
        name=f"{events.raw}_parquet",
        prefix=f"{events.domain}-raw-parquet",
        columns="\n".join(_columns(events)),
    )


def _columns(events: Events) -> Iterator[str]:
    for name in events.fields:
        kind = stored_type(events, name).replace(", ", ",").replace(": ", ":")
        yield f'            - {{Name: {name.lower()}, Type: "{kind}"}}'
