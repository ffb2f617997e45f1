r"""Access logs of web servers, as Apache, nginx and their kin write them, to columns.

A line of the combined format, with what servers add to it:

    [VHOST[:PORT]] CLIENT IDENT USER [TIME] "REQUEST" STATUS BYTES ["REFERRER" ["AGENT" [...]]]

- Lines end with LF; white space around them means nothing, CR included. `-` stands for a text that
  isn't there (an empty text in our columns) and for a number that is 0.
- A quoted text ends at a `"` before a space or the line's end, if no backslash escapes it. The last
  one of a line that was cut needn't end. Escapes are undone as `readable` says; a text may hold any
  bytes, and never makes a line bad.
- The request is the first quoted text that follows a time in brackets. TIME is
  `17/May/2015:10:05:03 +0000` or ISO 8601, with or without a fraction; without a zone it is UTC.
- REQUEST is `METHOD TARGET PROTOCOL`, or without a protocol (HTTP/0.9). If it isn't that (TLS
  bytes, nothing, `-`) the line is an event all the same; its method, path, query and protocol are
  empty. The target is cut at its first `?` and otherwise left as it is, also if it is a whole URL.
- STATUS has three digits. Unquoted words between TIME and REQUEST and behind BYTES are skipped.
- Of four or more words before TIME the first is the virtual host, or X-Forwarded-For if it is an
  address without a port or a list; but in `CLIENT - USER NAME` it is the client. A list in the
  client's place (`203.0.113.7, 10.0.0.1 - -`) is X-Forwarded-For, and so is a word in parentheses
  behind the client, and a quoted text that `AccessLogFormat` names.
- CLIENT is a host name or an address: `host:port` and `[address]:port` lose their ports.

Limits: IDENT is not read. A user name that contains spaces beside an IDENT other than `-` is taken
apart wrongly. lighttpd's default format has the host in IDENT's place, where it isn't seen.

Source: Apache's mod_log_config and ap_escape_logitem, nginx's ngx_http_log_module.
"""

from __future__ import annotations

from dataclasses import dataclass

from operators.access_log_clients import Networks
from operators.spec import Field

TIME = "time"
"""The event time of a domain of access logs, if it isn't `ARRIVAL`."""

FIELDS = (
    Field("client", "text", doc="Who asked: an address or a host name, without a port."),
    Field("vhost", "text", required=False, doc="Which of the server's hosts, without a port."),
    Field("forwarded_for", "text", required=False, doc="X-Forwarded-For, as it was sent."),
    Field("user", "text", required=False, doc="The name that the client gave."),
    Field("request", "text", required=False, doc="The whole first line of the request."),
    Field("method", "text", required=False, doc="As GET; empty if the request isn't HTTP."),
    Field("path", "text", required=False, doc="The target up to its first `?`."),
    Field("query", "text", required=False, doc="The target behind its first `?`."),
    Field("protocol", "text", required=False, doc="As HTTP/1.1; empty for HTTP/0.9."),
    Field("referrer", "text", required=False, doc="The page that linked here."),
    Field("agent", "text", required=False, doc="The client's User-Agent."),
    Field("status", "integer", required=False, doc="The answer's status; 0 if there was none."),
    Field("status_class", "text", required=False, doc="1xx to 5xx, or other."),
    Field("bytes", "integer", required=False, doc="The answer's size without its headers."),
)
"""What a domain may declare of a line, by these names and kinds."""

REASONS = {
    "empty": "the payload holds nothing but white space",
    "no_request": "nothing on the line is quoted",
    "no_time": "no time in brackets stands before a quoted text",
    "bad_time": "the event time is not a time, or not in the years 2 to 9998",
    "cut_request": "the line ends before its request does",
    "no_client": "nothing stands before the time",
    "bad_status": "what follows the request is not a status of three digits",
    "bad_bytes": "what follows the status is not a number of up to 18 digits",
}
"""Why a line is rejected: metric label, dead-letter field and ledger key."""


@dataclass(frozen=True, slots=True)
class AccessLogFormat:
    """What a line doesn't say of itself.

    Attributes:
        forwarded_for: Which quoted text behind the size, counted from 0, is X-Forwarded-For. The
            third is in nginx's format `main`. None if none is.
        trusted_proxies: Networks whose word on X-Forwarded-For is taken, as `10.0.0.0/8`: the
            client is the last address on the way to us that isn't in them. With none, the client is
            who connected, or the first of a list that was logged in its place.
    """

    forwarded_for: int | None = 2
    trusted_proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what isn't a network, or a place where the referrer or the agent stands."""
        Networks(self.trusted_proxies)
        if self.forwarded_for is not None and self.forwarded_for < 2:
            msg = f"quoted texts 0 and 1 are referrer and agent, not X-Forwarded-For: {self}"
            raise ValueError(msg)
