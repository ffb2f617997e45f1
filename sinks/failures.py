"""What a failed call means: the one table of how AWS says no, and what is done about it.

    throttled, timeout, server, network   sent again until the deadline, then raised
    rejected                              a dead letter at once: it would be refused for ever
    denied, missing, other                raised at once: somebody must mend something first

Codes are those of DynamoDB, SNS, Firehose, Kinesis, CloudWatch and KMS behind them, from the error
lists of their API references. What isn't listed is judged by its HTTP status, and an unknown 4xx is
raised rather than taken for a bad entry: a wrong guess there would empty the queue into the dead
letters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from errors import DeliveryError, KinewaxError, MissingResourceError

Kind = Literal[
    "throttled", "timeout", "server", "network", "rejected", "denied", "missing", "other"
]

_RETRIED: frozenset[Kind] = frozenset({"throttled", "timeout", "server", "network"})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an entry was not taken.

    Attributes:
        kind: Its row of the table, and the metric label `error_type`.
        code: What the destination called it.
        detail: The destination's words; they may quote a payload, so they never enter logs.
    """

    kind: Kind
    code: str
    detail: str = ""

    @property
    def retried(self) -> bool:
        """Whether the same entry may be taken another time."""
        return self.kind in _RETRIED


_CODES: dict[Kind, frozenset[str]] = {
    "throttled": frozenset(
        {
            "BandwidthLimitExceeded",
            "KMSThrottling",
            "KMSThrottlingException",
            "LimitExceeded",
            "LimitExceededException",
            "ProvisionedThroughputExceeded",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "Throttled",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
            "TransactionConflictException",
        }
    ),
    "timeout": frozenset({"RequestTimeout", "RequestTimeoutException"}),
    "server": frozenset(
        {
            "InternalError",
            "InternalErrorException",
            "InternalFailure",
            "InternalServerError",
            "InternalServiceError",
            "InternalServiceFault",
            "ReplicatedWriteConflictException",
            "ServiceUnavailable",
            "ServiceUnavailableException",
        }
    ),
    "rejected": frozenset(
        {
            "InvalidArgumentException",
            "InvalidFormat",
            "InvalidParameter",
            "InvalidParameterCombination",
            "InvalidParameterException",
            "InvalidParameterValue",
            "InvalidParameterValueException",
            "ItemCollectionSizeLimitExceededException",
            "MissingParameter",
            "MissingRequiredParameter",
            "ParameterValueInvalid",
            "RequestEntityTooLarge",
            "SerializationException",
            "ValidationError",
            "ValidationException",
        }
    ),
    "denied": frozenset(
        {
            "AccessDenied",
            "AccessDeniedException",
            "AuthorizationError",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidKMSResourceException",
            "InvalidSignatureException",
            "KMSAccessDenied",
            "KMSAccessDeniedException",
            "KMSDisabled",
            "KMSDisabledException",
            "KMSInvalidState",
            "KMSInvalidStateException",
            "KMSNotFound",
            "KMSNotFoundException",
            "KMSOptInRequired",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "NotAuthorized",
            "OptInRequired",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "SignatureDoesNotMatch",
            "UnauthorizedOperation",
            "UnrecognizedClientException",
        }
    ),
    "missing": frozenset(
        {"NotFound", "NotFoundException", "ResourceNotFound", "ResourceNotFoundException"}
    ),
}
_KIND_OF_CODE: dict[str, Kind] = {code: kind for kind, codes in _CODES.items() for code in codes}
_KIND_OF_STATUS: dict[int, Kind] = {
    401: "denied",
    403: "denied",
    404: "missing",
    408: "timeout",
    413: "rejected",
    429: "throttled",
}


def classify(error: Exception) -> Failure | None:
    """Say what an exception of a client means; None when it is no answer but a mistake of ours."""
    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return failure_of(str(answer.get("Code", "")), str(answer.get("Message", "")), status)
    code = type(error).__name__
    detail = str(error)
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError):
        return Failure("timeout", code, detail)
    if isinstance(error, ParamValidationError):
        return Failure("rejected", code, detail)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Failure("denied", code, detail)
    if isinstance(error, ResponseParserError):
        return Failure("server", code, detail)
    passing = (ConnectionError, HTTPClientError, IncompleteReadError, CredentialRetrievalError)
    if isinstance(error, passing):
        return Failure("network", code, detail)
    if isinstance(error, BotoCoreError):
        return Failure("other", code, detail)
    return None


def reply_field(reply: Mapping[str, Any], name: str) -> Any:
    """Return a field that every reply of a call has (`Any`: a boto3 reply).

    botocore reads a body that was cut as an empty reply, without a word. Taken at its word, a
    batch without a FailedRecordCount was written whole.

    Raises:
        ResponseParserError: It's not there; `classify` takes that for a passing failure.
    """
    if name not in reply:
        msg = f"a reply without {name}: its body was cut"
        raise ResponseParserError(msg)
    return reply[name]


def failure_of(code: str, detail: str = "", status: int = 0) -> Failure:
    """Say what an error code means, of a whole call or of one entry in its answer."""
    kind = _KIND_OF_CODE.get(code) or _KIND_OF_STATUS.get(status)
    if kind is None and status >= 500:
        kind = "server"
    if kind is None:
        # botocore gives the status for a code where it finds none: the refusal's body was cut.
        kind = "network" if code == str(status) else "other"
    return Failure(kind, code or f"HTTP {status}", detail)


def error_of(sink: str, destination: str, failure: Failure) -> KinewaxError:
    """Make the error of a failure that no further attempt mends."""
    if failure.kind == "missing":
        msg = f"{sink}: {destination} doesn't exist ({failure.code})"
        return MissingResourceError(
            msg, hint="create it or name another one; `kinewax check` lists all that is missing"
        )
    if failure.kind == "denied":
        msg = f"{sink}: writing to {destination} is not allowed ({failure.code}): {failure.detail}"
        return DeliveryError(
            msg, hint="mend role, key or credentials; `kinewax check` names each missing permission"
        )
    if failure.kind == "rejected":
        msg = f"{sink}: {destination} refuses an entry for good ({failure.code})"
        return DeliveryError(
            msg, hint="name a dead-letter stream, so that such entries are kept there"
        )
    # What a destination says may quote a payload; what the network says doesn't.
    said = f": {failure.detail}" if failure.kind in ("network", "timeout") else ""
    msg = f"{sink}: {destination} answered {failure.code}{said}"
    return DeliveryError(msg, hint="`kinewax check` tries every destination once")
