"""The only file that imports boto3: a cache of clients made with our timeouts.

Credentials come from the default chain only (environment, profile, container or instance role).
Retries are off in botocore, since sources and sinks do their own: they alone know which entries
failed, and by when a write must have succeeded. STS is asked who we are once a start and by nobody
who retries, so there botocore does. Clients are thread-safe; making one isn't, so it
happens under a lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from errors import KinewaxError, MissingResourceError, SettingsError
from service import settings as declared

_ATTEMPTS = {"sts": 8}
_MISSING = frozenset(
    {
        "ResourceNotFoundException",
        "ResourceNotFound",
        "NotFound",
        "NotFoundException",
        "NoSuchBucket",
        "NoSuchKey",
        "AWS.SimpleQueueService.NonExistentQueue",
    }
)


class Aws:
    """Makes clients by service name; an instance is the `Callable[[str], Client]` others take."""

    def __init__(self, settings: declared.Aws) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._session: boto3.Session | None = None
        # `Any`: boto3 makes its client classes at run time.
        self._clients: dict[str, Any] = {}

    def __call__(self, service: str) -> Any:
        """Return the client of a service, the same each time.

        Raises:
            SettingsError: No region, or no such profile.
        """
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def fresh(self, service: str, **config: Any) -> Any:
        """Return a client of one's own, to be closed by who asked for it.

        Args:
            service: Its name.
            config: What differs from the settings (`Any`: as botocore's `Config` takes it).

        Raises:
            SettingsError: No region, or no such profile.
        """
        with self._lock:
            return self._make(service, **config)

    @property
    def settings(self) -> declared.Aws:
        """What clients are made with."""
        return self._settings

    def signer(self, service: str) -> Callable[[AWSRequest], None]:
        """Return what signs requests to a service that boto3 has no client for (SigV4).

        Raises:
            SettingsError: No region, or no such profile.
        """
        try:
            with self._lock:
                session = self._session = self._session or boto3.Session(region_name=self._region())
            credentials, region = session.get_credentials(), session.region_name
        except ProfileNotFound as error:
            raise explain(error, f"{service} signer") from error
        if region is None:
            raise explain(NoRegionError(), f"{service} signer")

        def sign(request: AWSRequest) -> None:
            if credentials is None:
                raise NoCredentialsError
            SigV4Auth(credentials, service, region).add_auth(request)

        return sign

    def _region(self) -> str | None:
        # AWS's containers set AWS_REGION, which boto3 alone of its SDKs doesn't read.
        return self._settings.region or os.environ.get("AWS_REGION")

    def _make(self, service: str, **config: Any) -> Any:
        settings = self._settings
        try:
            self._session = self._session or boto3.Session(region_name=self._region())
            return self._session.client(
                service,
                endpoint_url=settings.endpoint_url,
                config=Config(
                    connect_timeout=settings.connect_timeout.total_seconds(),
                    read_timeout=settings.read_timeout.total_seconds(),
                    max_pool_connections=settings.max_connections,
                    retries={"total_max_attempts": _ATTEMPTS.get(service, 1), "mode": "standard"},
                    # Whole: botocore's own is put together anew for each call, a tenth of its time.
                    user_agent=f"kinewax Boto3/{boto3.__version__}",
                ).merge(Config(**config)),
            )
        except (NoRegionError, ProfileNotFound, ValueError) as error:
            raise explain(error, f"{service} client") from error


def error_code(error: ClientError) -> str:
    """Return the service's own name for what went wrong, as `ResourceNotFoundException`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing(error: ClientError) -> bool:
    """Tell whether the thing asked for doesn't exist."""
    return error_code(error) in _MISSING


def explain(error: Exception, what: str) -> KinewaxError:
    """Turn an error of boto3 into one line that says what to do.

    Args:
        error: What botocore raised.
        what: What was asked for, as `stream ecommerce-1`.
    """
    if isinstance(error, NoRegionError):
        return SettingsError("no AWS region is set", hint="set AWS_REGION, or aws.region")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        hint = "set AWS_PROFILE, or run with a role; a local server takes any key pair"
        return SettingsError("no AWS credentials are found", hint=hint)
    if isinstance(error, ProfileNotFound):
        return SettingsError(str(error), hint="name a profile of ~/.aws/config in AWS_PROFILE")
    if isinstance(error, ClientError):
        code = error_code(error)
        if is_missing(error):
            return MissingResourceError(
                f"{what} does not exist", hint="create it, or mend its name; `kinewax check` helps"
            )
        if "AccessDenied" in code or code in ("UnauthorizedOperation", "AuthorizationError"):
            return KinewaxError(
                f"{what}: access denied ({error.operation_name})",
                hint="`kinewax check` lists each permission that is missing",
            )
        return KinewaxError(f"{what}: {code}: {error.response['Error'].get('Message', '')}")
    if isinstance(error, BotoCoreError):
        return KinewaxError(f"{what}: {error}", hint="check the network and aws.endpoint_url")
    return SettingsError(f"{what}: {error}")
