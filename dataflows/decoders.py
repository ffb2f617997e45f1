"""Which decoder a domain's payloads need, and how its events are written out one by one."""

from __future__ import annotations

from collections.abc import Sequence

from dataflows.domain import Domain
from errors import SettingsError
from operators.codes import TextCodes
from operators.decode import Decoder, Decodes
from operators.intake import Writes
from operators.spec import Field
from operators.written import EventWriter


def decoder_of(
    domain: Domain, fields: Sequence[Field], time_field: str, texts: TextCodes
) -> Decodes:
    """Make the decoder of a domain.

    Args:
        domain: Whose payloads.
        fields: The fields to decode.
        time_field: The field with the event time, or `ARRIVAL`.
        texts: Where the codes of texts come from.
    """
    if domain.format is None:
        return Decoder(fields, time_field, texts)
    # numba compiles its loops; to load that would add half a second to every other domain's start.
    from operators.access_log_decode import AccessLogDecoder

    return AccessLogDecoder(fields, time_field, texts, domain.format)


def writer_of(domain: Domain, texts: TextCodes) -> Writes:
    """Return what writes a domain's events out one by one, decoded with `fields_written`.

    Args:
        domain: Whose events.
        texts: What they were decoded with.

    Raises:
        SettingsError: The domain doesn't say what they look like.
    """
    if domain.written is None:
        msg = f"sinks.events: domain {domain.name} doesn't write out single events"
        raise SettingsError(msg, hint="it says no `written`: what they look like")
    return EventWriter(domain.written, texts, domain.event_id).events


def fields_written(domain: Domain, fields: Sequence[Field]) -> tuple[Field, ...]:
    """Return these fields and all that a written event needs besides."""
    needed = domain.written.fields if domain.written else ()
    return (*fields, *(one for one in domain.fields if one.name in needed and one not in fields))
