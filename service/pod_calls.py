"""What pods say to each other over their admin ports, and how they know each other.

    POST /pods/join            what a pod has while it waits; the answer is a round, or why not yet
    POST /pods/beat            a sign of life; the answer is to go on, to drain or to end
    POST /pods/share           a pod's share of the ledger
    PUT  /pods/parts/{number}  a recovery file for the pod that it belongs to

The first three are the first pod's. Every call carries the pods' secret as a bearer token; without
it the answer is 401 and nothing is read. The calls aren't encrypted: a network policy keeps the
port to the pods themselves and to monitoring. The recovery file is unpickled later, so who knows
the secret can run code here, like anybody who can write to the volume.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import secrets
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.rounds import Answer, Beat, Joining, Order, Rounds, Share

if TYPE_CHECKING:
    from service.pods import Pods

_TIMEOUT_SECONDS = 2.0
_SENDING_SECONDS = 300.0
_DIGEST = "X-Content-SHA256"
ARRIVING = ".arriving"
"""How the name of a recovery file ends that isn't here whole yet."""

T = TypeVar("T")
_Handle = Callable[[Request], Awaitable[Response]]


class Caller:
    """The asking side.

    Args:
        token: The pods' secret.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        # Pods are never behind a proxy, whatever the environment says.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def first(self, address: str) -> RemoteFirst:
        """Return the first pod, as others see it."""
        return RemoteFirst(self, address)

    def post(self, address: str, name: str, content: object) -> bytes:
        """Say something, and return the answer.

        Raises:
            OSError: It isn't there, or refuses; the message says why.
        """
        return self._send(address, "POST", name, msgspec.json.encode(content), {}, _TIMEOUT_SECONDS)

    def send_part(self, address: str, number: int, path: Path) -> None:
        """Send a recovery file.

        Raises:
            OSError: It wasn't taken; the message says why.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            headers = {_DIGEST: digest, "Content-Length": str(path.stat().st_size)}
            self._send(address, "PUT", f"parts/{number}", file, headers, _SENDING_SECONDS)

    def _send(
        self,
        address: str,
        method: str,
        name: str,
        body: bytes | BinaryIO,
        headers: dict[str, str],
        timeout_seconds: float,
    ) -> bytes:
        request = urllib.request.Request(
            f"http://{address}/pods/{name}",
            data=body,
            method=method,
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/octet-stream",
                **headers,
            },
        )
        try:
            with self._opener.open(request, timeout=timeout_seconds) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            msg = f"{address} answers {error.code}: {error.read(200).decode(errors='replace')}"
            raise OSError(msg) from error
        except (urllib.error.URLError, http.client.HTTPException) as error:
            msg = f"{address}: {getattr(error, 'reason', None) or type(error).__name__}"
            raise OSError(msg) from error


class RemoteFirst:
    """The first pod, as others see it."""

    def __init__(self, caller: Caller, address: str) -> None:
        self._caller = caller
        self._address = address

    def join(self, joining: Joining) -> Answer:
        """Wait for a round."""
        return _decoded(self._caller.post(self._address, "join", joining), Answer)

    def beat(self, beat: Beat) -> Order:
        """Give a sign of life."""
        return _decoded(self._caller.post(self._address, "beat", beat), Order)

    def share(self, share: Share) -> None:
        """Give a share of the ledger."""
        self._caller.post(self._address, "share", share)


def routes(pods: Pods) -> Sequence[Route]:
    """Return the answering side, for the admin port."""
    expected = f"Bearer {pods.token}".encode()

    def guarded(handle: _Handle) -> Callable[..., object]:
        async def answer(request: Request) -> Response:
            given = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, expected):
                return Response("the pods' secret is needed", status_code=401)
            try:
                return await handle(request)
            except msgspec.ValidationError as error:
                return Response(f"not understood, is it another version? {error}", status_code=400)

        return answer

    async def part(request: Request) -> Response:
        number = request.path_params["number"]
        draft = pods.directory / f"{secrets.token_hex(8)}{ARRIVING}"  # two may come at a time
        digest = hashlib.sha256()
        with draft.open("wb") as file:
            async for piece in request.stream():
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != request.headers.get(_DIGEST):
            draft.unlink()
            return Response("the file was damaged on its way", status_code=400)
        refused = pods.take(number, draft)
        draft.unlink(missing_ok=True)
        return Response(refused, status_code=409 if refused else 204)

    found = [Route("/pods/parts/{number:int}", guarded(part), methods=["PUT"])]
    if pods.rounds is not None:
        found += [
            Route(f"/pods/{name}", guarded(handle), methods=["POST"])
            for name, handle in _of_first(pods.rounds)
        ]
    return found


def _of_first(rounds: Rounds) -> Iterator[tuple[str, _Handle]]:
    async def join(request: Request) -> Response:
        return _json(rounds.join(msgspec.json.decode(await request.body(), type=Joining)))

    async def beat(request: Request) -> Response:
        return _json(rounds.beat(msgspec.json.decode(await request.body(), type=Beat)))

    async def share(request: Request) -> Response:
        rounds.share(msgspec.json.decode(await request.body(), type=Share))
        return Response(status_code=204)

    yield from (("join", join), ("beat", beat), ("share", share))


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _decoded(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        msg = f"pod 0 answers what this version doesn't understand: {error}"
        raise OSError(msg) from error
