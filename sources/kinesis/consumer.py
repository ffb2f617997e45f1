"""The registered consumer in whose name a process subscribes: found, or registered, and watched.

A consumer is a reader of the stream with 2 MiB a second and shard of its own. All processes of a
job are one consumer; each shard has one subscription at a time, so two jobs need two consumers. A
stream has at most 20 (50 with On-demand Advantage), and each is billed by the hour and shard until
somebody deregisters it: stopping doesn't, for the next start goes on with it.

Limits (Kinesis Data Streams API): RegisterStreamConsumer 5 a second and account, 5 consumers being
created at a time; DescribeStreamConsumer 20 a second and stream.
"""

from __future__ import annotations

import logging
import random

import metrics
from errors import KinewaxError, MissingResourceError
from sources.kinesis.client import FanOutClient, field, missing_stream, resolve_stream
from sources.kinesis.failures import classify
from sources.kinesis.pacing import Backoff

_logger = logging.getLogger("kinewax.sources.kinesis")

_ASK_SECONDS = 1.0
_STREAK = 5


class Consumer:
    """Finds the consumer, and registers one where there is none of its name.

    Args:
        client: A Kinesis client.
        stream: The stream's name or ARN.
        name: The consumer's name; or its ARN, and then it is never registered.
        rng: For jitter.
    """

    def __init__(self, client: FanOutClient, stream: str, name: str, rng: random.Random) -> None:
        self.arn: str | None = None
        """None while it is not known to be active."""
        self._client = client
        self._stream = stream
        self._name = name
        self._stream_arn: str | None = None
        self._backoff = Backoff(rng)

    def doubt(self) -> None:
        """Look again whether it exists: a subscription was told that something doesn't."""
        self.arn = None

    def step(self) -> float | None:
        """Make a call, if one is due; return the seconds until the next step.

        Raises:
            MissingResourceError: The stream doesn't exist, or a consumer given by its ARN.
            KinewaxError: Access is denied.
        """
        if self.arn is not None:
            return _ASK_SECONDS
        try:
            consumer = self._describe() or self._register()
        except Exception as error:
            return self._failed(error)
        self._backoff.reset()
        if consumer["ConsumerStatus"] == "ACTIVE":
            self.arn = consumer["ConsumerARN"]
        return _ASK_SECONDS

    def _describe(self) -> dict[str, str] | None:
        try:
            if self._name.startswith("arn:"):
                reply = self._client.describe_stream_consumer(ConsumerARN=self._name)
            else:
                if self._stream_arn is None:
                    self._stream_arn = resolve_stream(self._client, self._stream).arn
                reply = self._client.describe_stream_consumer(
                    StreamARN=self._stream_arn, ConsumerName=self._name
                )
        except Exception as error:
            if classify(error) != "missing":
                raise
            if self._name.startswith("arn:"):
                message = f"Consumer {self._name} does not exist"
                hint = "an ARN ends with the time of its registration: list the stream's consumers"
                raise MissingResourceError(message, hint=hint) from error
            return None
        description: dict[str, str] = field(reply, "ConsumerDescription")
        return description

    def _register(self) -> dict[str, str]:
        reply = self._client.register_stream_consumer(
            StreamARN=self._stream_arn, ConsumerName=self._name
        )
        _logger.info(
            "registered consumer %s of stream %s; it is billed until it is deregistered",
            self._name,
            self._stream,
            extra={"event": "consumer_registered", "stage": "receiving"},
        )
        consumer: dict[str, str] = field(reply, "Consumer")
        return consumer

    def _failed(self, error: Exception) -> float:
        kind = classify(error)
        if kind == "bug" or isinstance(error, KinewaxError):
            raise error
        if kind == "missing":
            raise missing_stream(self._stream) from error
        if kind in ("denied", "invalid"):
            message = f"Consumer {self._name!r} of stream {self._stream!r} is refused: {error}"
            hint = "allow kinesis:DescribeStreamConsumer and kinesis:RegisterStreamConsumer on it"
            raise KinewaxError(message, hint=hint) from error
        # in_use: another process has registered it meanwhile, or the stream is being changed.
        metrics.source_errors.labels(self._stream, kind).inc()
        pause = self._backoff.next_seconds()
        if self._backoff.failures == _STREAK:
            _logger.warning(
                "consumer %s of stream %s: %d calls failed in a row, the last one as %s: %s",
                self._name,
                self._stream,
                _STREAK,
                kind,
                error,
                extra={"event": "calls_failing", "error_type": kind, "stage": "receiving"},
            )
        return pause
