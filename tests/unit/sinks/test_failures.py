"""What each answer of AWS means."""

from __future__ import annotations

import botocore.exceptions as aws
import pytest
from botocore.parsers import ResponseParserError

from errors import DeliveryError, MissingResourceError
from sinks.failures import Failure, Kind, classify, error_of, failure_of


def client_error(code: str, status: int) -> aws.ClientError:
    return aws.ClientError(
        {
            "Error": {"Code": code, "Message": "said"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        },  # type: ignore[typeddict-item]
        "Any",
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (client_error("ProvisionedThroughputExceededException", 400), "throttled"),
        (client_error("ThrottlingException", 400), "throttled"),
        (client_error("TooManyRequests", 429), "throttled"),
        (client_error("InternalServerError", 500), "server"),
        (client_error("", 502), "server"),
        (client_error("503", 503), "server"),
        (client_error("ValidationException", 400), "rejected"),
        (client_error("ItemCollectionSizeLimitExceededException", 400), "rejected"),
        (client_error("TooLarge", 413), "rejected"),
        (client_error("ResourceNotFoundException", 400), "missing"),
        (client_error("NotFound", 404), "missing"),
        (client_error("AccessDeniedException", 400), "denied"),
        (client_error("ExpiredTokenException", 400), "denied"),
        (client_error("KMSDisabledException", 400), "denied"),
        (client_error("NobodyKnows", 403), "denied"),
        (client_error("NobodyKnows", 400), "other"),
        (client_error("400", 400), "network"),  # botocore's word for a refusal that was cut
        (aws.ReadTimeoutError(endpoint_url="u"), "timeout"),
        (aws.ConnectTimeoutError(endpoint_url="u"), "timeout"),
        (aws.EndpointConnectionError(endpoint_url="u"), "network"),
        (aws.ConnectionClosedError(endpoint_url="u"), "network"),
        (aws.SSLError(endpoint_url="u", error="e"), "network"),
        (aws.CredentialRetrievalError(provider="p", error_msg="e"), "network"),
        (aws.NoCredentialsError(), "denied"),
        (aws.ParamValidationError(report="r"), "rejected"),
        (aws.UnknownServiceError(service_name="s", known_service_names="k"), "other"),
        (ResponseParserError("not JSON"), "server"),
    ],
)
def test_every_answer_has_its_row_of_the_table(error: Exception, kind: str) -> None:
    failure = classify(error)
    assert failure is not None
    assert failure.kind == kind
    assert failure.code


def test_a_mistake_of_ours_is_no_answer() -> None:
    assert classify(KeyError("RequestResponses")) is None


def test_what_may_be_sent_again_is_what_may_pass() -> None:
    retried = {
        code
        for code in (
            "ThrottlingException",
            "InternalFailure",
            "RequestTimeout",
            "ValidationException",
            "AccessDenied",
            "NotFound",
            "NobodyKnows",
        )
        if failure_of(code).retried
    }
    assert retried == {"ThrottlingException", "InternalFailure", "RequestTimeout"}


@pytest.mark.parametrize("kind", ["missing", "denied", "rejected", "other"])
def test_an_error_names_sink_and_destination_and_says_what_to_do(kind: Kind) -> None:
    error = error_of("kinesis", "stream two", Failure(kind, "Code"))
    assert str(error).startswith("kinesis: ")
    assert "stream two" in str(error)
    assert error.hint
    assert isinstance(error, MissingResourceError if kind == "missing" else DeliveryError)


def test_an_error_never_quotes_what_a_destination_said_which_may_quote_a_payload() -> None:
    kinds: tuple[Kind, ...] = ("missing", "rejected", "throttled", "server", "other")
    for kind in kinds:
        error = error_of("kinesis", "stream two", Failure(kind, "Code", "user 7"))
        assert "user 7" not in str(error)
    error = error_of("kinesis", "stream two", Failure("network", "Code", "no route"))
    assert "no route" in str(error)
