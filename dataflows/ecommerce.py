"""The shop: floods of actions by one user, the trade, and the visitors' journeys."""

from dataflows.destinations import Destinations
from dataflows.domain import Domain
from operators.figure_spec import Figure, Movers
from operators.filter_spec import Known, Where
from operators.session_spec import FirstText, LastText, SessionWindow
from operators.spec import DAY_SECONDS, HOUR_SECONDS, Field, Level, Threshold, Window
from operators.value_spec import ApproxDistinct, Count, Distinct, Last, Maximum, Sum, Without

BOUGHT = Where("event_type", "purchase")
EVENTS = Count("events")
VIEWS = Count("views", Where("event_type", "view"))
CARTS = Count("carts", Where("event_type", "cart"))
REMOVES = Count("removes", Where("event_type", "remove_from_cart"))
PURCHASES = Count("purchases", BOUGHT)
REVENUE = Sum("revenue", of="price", where=BOUGHT)
VISITORS = Distinct("visitors", of="user_id")
ABANDONED = Without("abandoned", some="carts", none="purchases")
INTEREST = (VIEWS, CARTS, PURCHASES, REVENUE)

ECOMMERCE = Domain(
    name="ecommerce",
    summary="Shop events: floods of actions by one user, the trade, and visitors' journeys.",
    fields=(
        Field("user_id", "integer", doc="Who acted."),
        Field("event_type", "text", doc="view, cart, remove_from_cart or purchase."),
        Field("product_id", "integer", required=False, doc="What was acted on."),
        Field("category_code", "text", required=False, doc="As electronics.smartphone, or empty."),
        Field("brand", "text", required=False, doc="In lower case, or empty."),
        Field("price", "decimal", scale=2, doc="Of the product, in the shop's currency."),
        Field("user_session", "text", required=False, doc="The visit, as the shop names it."),
        Field("category_id", "integer", required=False, doc="The category's number."),
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
            values=(EVENTS, REVENUE, Distinct("users", of="user_id")),
            groups=4,
            doc="Events, revenue of purchases and distinct users of a minute.",
        ),
        Window(
            name="visitors_daily",
            length_seconds=DAY_SECONDS,
            key=(),
            values=(EVENTS, VISITORS, ApproxDistinct("visitors_approx", of="user_id")),
            interim_seconds=60,
            groups=1,
            doc="Distinct users of a day, exactly and by HyperLogLog.",
        ),
        Window(
            name="carts_daily",
            length_seconds=DAY_SECONDS,
            key=("user_id", "product_id"),
            values=(CARTS, PURCHASES, REVENUE, ABANDONED),
            where=Where("event_type", ("cart", "purchase")),
            interim_seconds=300,
            groups=2,
            doc="What each user put into the cart or bought in a day, product by product.",
        ),
        Window(
            name="categories_hourly",
            length_seconds=HOUR_SECONDS,
            key=("category_code",),
            values=(EVENTS, *INTEREST),
            where=Known("category_code"),
            interim_seconds=60,
            groups=1,
            doc="Which categories are asked for, hour by hour.",
        ),
        Window(
            name="brands_daily",
            length_seconds=DAY_SECONDS,
            key=("brand",),
            values=INTEREST,
            where=Known("brand"),
            interim_seconds=300,
            groups=1,
            doc="Which brands are looked at, and which are bought.",
        ),
        Window(
            name="products_daily",
            length_seconds=DAY_SECONDS,
            key=("product_id",),
            values=INTEREST,
            interim_seconds=HOUR_SECONDS,
            groups=2,
            doc="The same of products; two days beside each other tell what moves.",
        ),
    ),
    sessions=(
        SessionWindow(
            name="journeys",
            gap_seconds=30 * 60,
            key=("user_session",),
            values=(
                Maximum("user_id", of="user_id"),
                *(EVENTS, VIEWS, CARTS, REMOVES, PURCHASES, REVENUE),
                FirstText("first_category", of="category_code"),
                LastText("last_category", of="category_code"),
                Last("last_seen"),
                ABANDONED,
            ),
            where=Known("user_session"),
            interim_seconds=60,
            doc="A visit, from its first event to half an hour without one.",
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
    figures=(
        Figure("visitors_daily", ("visitors",)),
        Figure("trade", ("events",), by=Where("event_type", ("view", "cart", "purchase"))),
        Figure("trade", ("revenue",)),
    ),
    movers=(Movers("categories_hourly", "views"), Movers("brands_daily", "revenue")),
    destinations=Destinations(
        table="ddb-ecommerce-tab-1",
        topic="ecomm-user-high-severity-incidents",
        namespace="ecommerce-namespace-1",
        metric="ecomm-user-high-volume-events",
        stream="ecommerce-raw-user-activity-stream-2",
        aggregates="ecommerce-aggregates",
        dead_letters="ecommerce-dead-letters",
    ),
)
