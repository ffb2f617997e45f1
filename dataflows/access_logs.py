"""Access logs of a site: floods, scans and slow errors, and what the site served."""

from dataflows.domain import Domain
from operators.access_log import FIELDS, TIME, AccessLogFormat
from operators.access_log_honeypots import HONEYPOTS
from operators.access_log_seed import SEED
from operators.feature_spec import Entropy, Evidence, Keys, NewKeys, Share, StreamForest, Total
from operators.filter_spec import Where
from operators.spec import Allow, Level, Ratio, Threshold, Window
from operators.value_spec import Count, Distinct, First, Last, Sum, Top

FAILS = Where("status_class", "5xx")

REQUESTS = Count("requests")
ERRORS = (Count("errors_4xx", Where("status_class", "4xx")), Count("errors_5xx", FAILS))
LURED = Count("honeypots", Where("path", HONEYPOTS))
PATHS = Distinct("paths", of="path")
SERVED = (REQUESTS, Sum("bytes", of="bytes"))
TRAFFIC = (*SERVED, *ERRORS, Distinct("clients", of="client"), PATHS)

ACCESS_LOGS = Domain(
    name="access_logs",
    summary="Access logs of a site: floods, scans and slow errors, and what the site served.",
    format=AccessLogFormat(),
    allow=(Allow("client", "network"), Allow("agent", "pattern")),
    fields=FIELDS,
    written=SEED,
    times=(TIME,),
    windows=(
        Window("traffic_10s", 10, ("vhost",), TRAFFIC, groups=1, doc="What a host served in 10 s."),
        Window(
            name="traffic_60s",
            length_seconds=60,
            key=("vhost",),
            values=TRAFFIC,
            evidence=(
                Top("failing_paths", of="path", counted_as="errors_5xx", where=FAILS),
                Top("failing_clients", of="client", counted_as="errors_5xx", where=FAILS),
            ),
            groups=1,
            doc="The same of a minute.",
        ),
        Window("statuses_60s", 60, ("status", "method"), SERVED, groups=1, doc="How it answered."),
        Window("pages_60s", 60, ("path",), SERVED, top=20, groups=1, doc="A minute's top paths."),
        Window("agents_60s", 60, ("agent",), SERVED, top=20, groups=1, doc="Its top agents."),
        Window("referrers_60s", 60, ("referrer",), SERVED, top=20, groups=1, doc="Its referrers."),
        Window(
            name="clients_10s",
            length_seconds=10,
            key=("client",),
            values=(*SERVED, *ERRORS, LURED, PATHS, First("first_seen"), Last("last_seen")),
            evidence=(
                Top("top_paths", of="path", counted_as="requests"),
                Top("top_agents", of="agent", counted_as="requests"),
            ),
            emit=False,
            groups=8,
            doc="What each client did in 10 s; feeds rules and the detector.",
        ),
        Window(
            name="paths_10s",
            length_seconds=10,
            key=("path",),
            values=(REQUESTS,),
            emit=False,
            groups=4,
            doc="How requests spread over paths; feeds the detector.",
        ),
        Window(
            name="agents_10s",
            length_seconds=10,
            key=("agent",),
            values=(REQUESTS,),
            emit=False,
            groups=1,
            doc="How requests spread over agents; feeds the detector.",
        ),
    ),
    rules=(
        Threshold(
            name="client_flood",
            window="clients_10s",
            value="requests",
            levels=(Level("warning", above=50), Level("high", above=100, notify=True)),
            cooldown_seconds=300,
            subject_template="{client} made {value} requests in 10 s",
            doc="One client that asks for more than a browser does.",
        ),
        Threshold(
            name="scan",
            window="clients_10s",
            value="paths",
            levels=(Level("warning", above=30), Level("high", above=60, notify=True)),
            cooldown_seconds=300,
            subject_template="{client} tried {value} paths in 10 s",
            doc="One client that tries many paths.",
        ),
        Threshold(
            name="honeypot",
            window="clients_10s",
            value="honeypots",
            levels=(Level("high", above=0, notify=True),),
            cooldown_seconds=3600,
            subject_template="{client} asked {value} times for what only attackers look for",
            doc="A client that asks for a file that no page links to.",
        ),
        Ratio(
            name="errors",
            window="traffic_60s",
            value="errors_5xx",
            of="requests",
            # Of 40 requests of which 2 % fail, 7 do once in 75,000 minutes.
            levels=(Level("warning", above=0.15), Level("high", above=0.3, notify=True)),
            at_least=40,
            cooldown_seconds=600,
            subject_template="{value} of all requests failed in a minute",
            doc="A host that fails too often, however slowly it came to it.",
        ),
    ),
    detectors=(
        StreamForest(
            name="unusual_traffic",
            features=(
                Total("requests_a_second", "clients_10s", "requests"),
                Share("error_share_5xx", "clients_10s", "errors_5xx", of="requests"),
                Share("error_share_4xx", "clients_10s", "errors_4xx", of="requests"),
                Keys("clients", "clients_10s"),
                NewKeys("new_clients", "clients_10s", memory_seconds=3600),
                Entropy("client_entropy", "clients_10s", "requests"),
                Entropy("path_entropy", "paths_10s", "requests"),
            ),
            # Without a warm-up, and without learning floods: docs/explanation/access-logs.md.
            levels=(Level("warning", above=3.0), Level("high", above=3.3, notify=True)),
            levels_of="score",
            unlearnt=30,
            sub_sample_size=32,
            quiet_seconds=60,
            cooldown_seconds=300,
            evidence=(
                Evidence("top_clients", "clients_10s"),
                Evidence("top_paths", "paths_10s"),
                Evidence("top_agents", "agents_10s"),
            ),
            doc="The whole site unlike itself, as in a flood from many clients.",
        ),
    ),
)
