"""What a failed Kinesis call means to the reader: retry, renew, or give up.

The classes are the label `error_type` of `kinewax_source_errors_total`, a closed set. Everything
that may pass is retried for as long as it takes; only what a person must mend is raised.
"""

from __future__ import annotations

from typing import Literal

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.exceptions import (
    ConnectionError as ServiceConnectionError,
)
from botocore.parsers import ResponseParserError

Failure = Literal[
    "throttled",  # slow down and try again
    "expired_iterator",  # ask for a new iterator
    "in_use",  # a subscription that another call took, or a state that passes: try again later
    "timeout",  # try again
    "server",  # try again
    "network",  # try again
    "other",  # a service's passing state: try again
    "missing",  # no such stream or shard
    "invalid",  # refused: the position or the iterator is not the shard's
    "denied",  # permissions, keys, credentials: a person must act
    "bug",  # not a failed call at all
]

_CODES: dict[str, Failure] = {
    "ProvisionedThroughputExceededException": "throttled",
    "LimitExceededException": "throttled",
    "ThrottlingException": "throttled",
    "Throttling": "throttled",
    "RequestLimitExceeded": "throttled",
    "KMSThrottlingException": "throttled",
    "SlowDown": "throttled",
    "ExpiredIteratorException": "expired_iterator",
    "ResourceInUseException": "in_use",
    "InternalFailureException": "server",  # within an event stream, where no status tells
    "ResourceNotFoundException": "missing",
    "InvalidArgumentException": "invalid",
    "ValidationException": "invalid",
    "SerializationException": "invalid",
    "AccessDeniedException": "denied",
    "AccessDenied": "denied",
    "UnrecognizedClientException": "denied",
    "InvalidSignatureException": "denied",
    "SignatureDoesNotMatch": "denied",
    "IncompleteSignatureException": "denied",
    "MissingAuthenticationTokenException": "denied",
    "OptInRequired": "denied",
    "KMSAccessDeniedException": "denied",
    "KMSDisabledException": "denied",
    "KMSInvalidStateException": "denied",
    "KMSNotFoundException": "denied",
    "KMSOptInRequired": "denied",
}


def classify(error: Exception) -> Failure:
    """Return what a failed call means; `bug` for what no call can raise."""
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _CODES:
            return _CODES[code]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return "server" if status >= 500 else "other"
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return "timeout"
    if isinstance(error, NoCredentialsError | PartialCredentialsError | NoRegionError):
        return "denied"
    if isinstance(error, ParamValidationError):
        return "bug"
    if isinstance(
        error,
        HTTPClientError | ServiceConnectionError | ResponseParserError | CredentialRetrievalError,
    ):
        return "network"
    if isinstance(error, BotoCoreError):
        return "other"
    return "bug"
