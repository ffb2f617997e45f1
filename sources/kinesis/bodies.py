"""Reads the body of each reply in one piece.

botocore takes a body in pieces of 64 KiB and joins them, which costs a reply of 10,000 records a
quarter of the time it takes to read, and a second copy of it while they are joined. Here botocore
still sends, signs and judges; only the last step, the body, is read whole.

What is used of botocore for it isn't documented: `client._endpoint.http_session`, the request's
`stream_output` and the response's `_content`. Where one of them is missing all goes on as botocore
does it, and a test fails.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.exceptions import ReadTimeoutError as BodyTimeoutError

from sources.kinesis.client import KinesisClient


def use_whole_bodies(client: KinesisClient) -> None:
    """Have a boto3 client read the bodies of its replies in one piece."""
    endpoint: Any = getattr(client, "_endpoint", None)
    if hasattr(endpoint, "http_session"):
        endpoint.http_session = WholeBodies(endpoint.http_session)


class WholeBodies:
    """A session of botocore's (`Any`: it has no types) that reads bodies in one piece.

    Args:
        session: What sends.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def send(self, request: Any) -> Any:
        """Send a request and return the response, read to its end.

        Raises:
            ReadTimeoutError: The body stopped coming.
            ConnectionClosedError: The connection broke within the body.
            HTTPClientError: Reading failed otherwise.
        """
        request.stream_output = True  # leaves the body unread
        response = self._session.send(request)
        try:
            response._content = response.raw.read()
        except BodyTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except ProtocolError as error:
            raise ConnectionClosedError(
                endpoint_url=request.url, request=request, error=error
            ) from error
        except HTTPError as error:
            raise HTTPClientError(error=error) from error
        return response

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
