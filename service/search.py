"""A client of OpenSearch: one request at a time, signed as its server wants it.

Requests go out by botocore's own HTTP session, so that failures are those that `sinks.failures`
knows, and connections, proxies and certificates are as with every other service. Amazon's managed
service is spoken to with the run's AWS credentials (SigV4, service `es`); any other server gets the
user and password of its URL as basic authorization, if there are any.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

from service.aws import Aws

MANAGED_SERVICE = "es"
_MANAGED_HOSTS = (".es.amazonaws.com", ".es.amazonaws.com.cn", ".on.aws")
_CONTENT_TYPE = "application/json"


def is_search(url: str) -> bool:
    """Tell whether a URL means a server of OpenSearch."""
    return url.startswith(("https://", "http://"))


class OpenSearch:
    """One server; used by any number of threads.

    Args:
        url: `https://[USER:PASSWORD@]HOST[:PORT]`.
        aws: Signs requests to the managed service; its settings are also this client's.
    """

    def __init__(self, url: str, aws: Aws) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
        self._url = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
        self._headers = {"Content-Type": _CONTENT_TYPE}
        self._sign: Callable[[AWSRequest], None] | None = None
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        elif host.endswith(_MANAGED_HOSTS):
            self._sign = aws.signer(MANAGED_SERVICE)
        settings = aws.settings
        self._session = URLLib3Session(
            timeout=(
                settings.connect_timeout.total_seconds(),
                settings.read_timeout.total_seconds(),
            ),
            max_pool_connections=settings.max_connections,
        )

    def request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer.

        Raises:
            BotoCoreError: There was no answer, or no credentials are found.
        """
        request = AWSRequest(method, self._url + path, dict(self._headers), body)
        if self._sign is not None:
            self._sign(request)
        answer = self._session.send(request.prepare())
        return answer.status_code, answer.content
