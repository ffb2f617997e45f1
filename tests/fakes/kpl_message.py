"""The KPL's message as the service reads it, for protobuf itself: an oracle for damaged messages.

Unlike `messages.proto` it has no tags, whose damage is nobody's business, and keys are bytes: they
are hashed as they are, UTF-8 or not.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_OPTIONAL, _REQUIRED, _REPEATED = (
    _Field.LABEL_OPTIONAL,
    _Field.LABEL_REQUIRED,
    _Field.LABEL_REPEATED,
)


def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="kpl_message.proto", package="kinewax.tests")
    record = file.message_type.add(name="Record")
    for name, number, label, kind in [
        ("partition_key_index", 1, _REQUIRED, _Field.TYPE_UINT64),
        ("explicit_hash_key_index", 2, _OPTIONAL, _Field.TYPE_UINT64),
        ("data", 3, _REQUIRED, _Field.TYPE_BYTES),
    ]:
        record.field.add(name=name, number=number, label=label, type=kind)
    aggregate = file.message_type.add(name="AggregatedRecord")
    for name, number in [("partition_key_table", 1), ("explicit_hash_key_table", 2)]:
        aggregate.field.add(name=name, number=number, label=_REPEATED, type=_Field.TYPE_BYTES)
    aggregate.field.add(
        name="records",
        number=3,
        label=_REPEATED,
        type=_Field.TYPE_MESSAGE,
        type_name=".kinewax.tests.Record",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("kinewax.tests.AggregatedRecord")
    )


KplMessage = _message_class()
