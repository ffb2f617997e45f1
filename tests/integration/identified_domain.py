"""A user's domain whose events say who they are."""

from dataflows.domain import Domain
from operators.spec import Field, Window
from operators.value_spec import Count

DOMAIN = Domain(
    name="identified",
    summary="Events with an id.",
    fields=(Field("user_id", "integer"), Field("id", "text")),
    times=("txn_timestamp",),
    windows=(Window(name="users", length_seconds=60, key=("user_id",), values=(Count("events"),)),),
    rules=(),
    event_id="id",
)
