"""The shop: floods of actions by one user, and the minute's trade."""

from dataflows.domain import Domain
from operators.spec import Count, Distinct, Field, Level, Sum, Threshold, Where, Window

ECOMMERCE = Domain(
    name="ecommerce",
    summary="Shop events: floods of actions by one user, and the minute's trade.",
    fields=(
        Field("user_id", "integer", doc="Who acted."),
        Field("event_type", "text", doc="view, cart, remove_from_cart or purchase."),
        Field("category_code", "text", required=False, doc="As electronics.smartphone, or empty."),
        Field("brand", "text", required=False, doc="In lower case, or empty."),
        Field("price", "decimal", scale=2, doc="Of the product, in the shop's currency."),
    ),
    times=("txn_timestamp", "event_time"),
    windows=(
        Window(
            name="user_actions",
            length_seconds=10,
            key=("user_id",),
            values=(Count("num_actions_per_watermark"),),
            emit=False,
            doc="Actions of each user in 10 s; feeds the rule high_volume.",
        ),
        Window(
            name="trade",
            length_seconds=60,
            key=("event_type", "category_code", "brand"),
            values=(
                Count("events"),
                Sum("revenue", of="price", where=Where("event_type", "purchase")),
                Distinct("users", of="user_id"),
            ),
            groups=4,
            doc="Events, revenue of purchases and distinct users of a minute.",
        ),
    ),
    rules=(
        Threshold(
            name="high_volume",
            window="user_actions",
            value="num_actions_per_watermark",
            levels=(Level("warning", above=5), Level("high", above=10, notify=True)),
            key_template="userid#{user_id}#appserver#app-server-tomcat-123",
            subject_template=(
                "Possible DDoS detected, by user_id {user_id} "
                "with a number of attempts of : {value}/window"
            ),
            doc="A user with more actions in 10 s than people make: a bot, or an attack.",
        ),
    ),
)
