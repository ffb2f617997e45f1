"""A user's domain, in a file of its own: forests of kinds, of brands and of single events."""

from dataflows.domain import Domain
from operators.feature_spec import KeyForest, RecordForest
from operators.filter_spec import Where
from operators.spec import Field, Level, Window
from operators.value_spec import Count, Mean, Sum

SMALL = {"number_of_trees": 10, "sub_sample_size": 16, "warm_up": 200}

DOMAIN = Domain(
    name="prices",
    summary="What is done and sold, and at which prices.",
    fields=(
        Field("user_id", "integer"),
        Field("event_type", "text"),
        Field("brand", "text", required=False),
        Field("price", "decimal", scale=2),
    ),
    times=("txn_timestamp",),
    windows=(
        Window(
            name="kinds",
            length_seconds=5,
            key=("event_type",),
            values=(Count("events"), Sum("value", of="price")),
            emit=False,
            groups=2,
        ),
        Window(
            name="brands",
            length_seconds=60,
            key=("brand",),
            values=(Mean("mean_purchase", of="price", where=Where("event_type", "purchase")),),
            emit=False,
            groups=4,
        ),
    ),
    rules=(),
    detectors=(
        KeyForest(
            name="unusual_kinds",
            levels=(Level("warning", above=0.99), Level("high", above=0.999, notify=True)),
            window="kinds",
            values=("events", "value"),
            **SMALL,
        ),
        # Keeps two keys a group, so most brands are forgotten before they come again.
        KeyForest(
            name="unusual_purchases",
            levels=(Level("high", above=0.99),),
            window="brands",
            values=("mean_purchase",),
            max_keys=8,
            **SMALL,
        ),
        RecordForest(
            name="unusual_prices",
            levels=(Level("high", above=0.999, notify=True),),
            fields=("price",),
            key=("user_id", "brand"),
            quiet_seconds=0,
            **SMALL,
        ),
    ),
)
