"""Changes of wikis, as MediaWiki's `recentchange` stream has them: what is edited, and by whom."""

from dataflows.domain import Domain
from operators.derived import Difference
from operators.feature_spec import Evidence, Share, StreamForest, Total
from operators.filter_spec import Drop, Where
from operators.spec import Field, Level, Threshold, Window
from operators.value_spec import Count, Distinct, First, Last, Sum, Value
from operators.written import Digits, Epoch, Moment, Text, Written

BY_BOTS = Where("bot", "true")
BY_PEOPLE = Where("bot", "false")
EDITS = Where("type", ("edit", "new"))

CHANGES: tuple[Value, ...] = (
    Count("changes"),
    Count("bot_changes", where=BY_BOTS),
    Distinct("users", of="user"),
    Sum("bytes_changed", of="bytes_changed"),
)
OF_A_USER: tuple[Value, ...] = (
    Count("edits", where=EDITS),
    Count("new_pages", where=Where("type", "new")),
    Distinct("titles", of="title"),
    Sum("bytes_changed", of="bytes_changed"),
    First("first_seen"),
    Last("last_seen"),
)

WIKI = Domain(
    name="wiki",
    summary="Changes of wikis: how much is edited, by how many bots, and bursts of one user.",
    fields=(
        Field("change_id", "integer", required=False, path="id", doc="None of a log entry."),
        Field("type", "text", doc="edit, new, log, categorize or external."),
        Field("wiki", "text", doc="As enwiki."),
        Field("user", "text", required=False, doc="A name, or an address."),
        Field("bot", "flag", required=False, doc="Whether the user says to be a bot."),
        Field("title", "text", required=False, doc="The page."),
        Field("length_new", "integer", required=False, path="length.new", doc="Bytes after it."),
        Field("length_old", "integer", required=False, path="length.old", doc="Bytes before it."),
        Field("domain", "text", required=False, path="meta.domain", doc="`canary`: a test event."),
        Field("event_id", "text", required=False, path="meta.id", doc="No two events share it."),
    ),
    derived=(
        Difference("bytes_changed", "length_new", "length_old", doc="What a page grew by."),
        Difference("bytes_touched", "length_new", "length_old", absolute=True, doc="Either way."),
    ),
    times=("timestamp",),
    disorder_seconds=30,  # categories follow the edit that they are of by some seconds
    drops=(Drop("canary", Where("domain", "canary")),),
    event_id="event_id",
    written=Written(
        (
            Digits("id", "change_id", absent="", index="text"),
            Text("type", "type"),
            Text("wiki", "wiki"),
            Moment("change_datetime", "seconds"),
            Epoch("change_timestamp"),
        ),
        lines="csv",
    ),
    windows=(
        Window("changes_10s", 10, ("wiki", "type"), CHANGES, groups=2, doc="Changes in 10 s."),
        Window("changes_60s", 60, ("wiki", "type"), CHANGES, groups=2, doc="Those of a minute."),
        Window(
            name="stream_10s",
            length_seconds=10,
            key=("wiki",),
            values=(
                Count("changes"),
                Count("bot_changes", where=BY_BOTS),
                Count("edits", where=EDITS),
                Count("new_pages", where=Where("type", "new")),
                Sum("bytes_touched", of="bytes_touched"),
            ),
            emit=False,
            groups=1,
            doc="What each wiki was like in 10 s; feeds the detector.",
        ),
        Window(
            name="people_10s",
            length_seconds=10,
            key=("wiki", "user"),
            values=OF_A_USER,
            where=BY_PEOPLE,
            emit=False,
            groups=4,
            doc="Changes of each user who doesn't say to be a bot; feeds the rule edit_burst.",
        ),
        Window(
            name="bots_60s",
            length_seconds=60,
            key=("wiki", "user"),
            values=OF_A_USER,
            where=BY_BOTS,
            emit=False,
            groups=2,
            doc="Changes of each declared bot; feeds the rule runaway_bot.",
        ),
    ),
    rules=(
        Threshold(
            name="edit_burst",
            window="people_10s",
            value="edits",
            levels=(Level("warning", above=5), Level("high", above=10, notify=True)),
            cooldown_seconds=300,
            subject_template="{user} made {value} edits of {wiki} in 10 s",
            doc="One who edits more than people do: a vandal, or a bot that doesn't say so.",
        ),
        Threshold(
            name="runaway_bot",
            window="bots_60s",
            value="edits",
            levels=(Level("warning", above=300), Level("high", above=600, notify=True)),
            cooldown_seconds=600,
            subject_template="Bot {user} made {value} edits of {wiki} in a minute",
            doc="A declared bot that makes more than five, or ten, edits a second.",
        ),
    ),
    detectors=(
        StreamForest(
            name="unusual_editing",
            features=(
                Total("edits_a_second", "stream_10s", "edits"),
                Total("new_pages_a_second", "stream_10s", "new_pages"),
                Total("bytes_a_second", "stream_10s", "bytes_touched"),
                Share("bot_share", "stream_10s", "bot_changes", of="changes"),
            ),
            # Of a stream that stays as it is: some four windows a day, and one.
            levels=(Level("warning", above=0.9995), Level("high", above=0.9999, notify=True)),
            cooldown_seconds=600,
            evidence=(Evidence("top_wikis", "stream_10s"),),
            doc="All wikis together unlike themselves.",
        ),
    ),
)
