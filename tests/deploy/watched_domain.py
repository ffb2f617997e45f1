"""What the shop hasn't, a domain has here: forests, a table beside the stream, dropped events."""

from dataclasses import replace

from operators.filter_spec import Drop, Where
from operators.reference_spec import Reference
from operators.spec import Field
from tests.golden.forests_domain import DOMAIN as FORESTS

DOMAIN = replace(
    FORESTS,
    name="watched",
    references=(
        Reference("makers", key="brand", fields=(Field("country", "text", required=False),)),
    ),
    drops=(Drop("test", Where("event_type", "test")),),
)
