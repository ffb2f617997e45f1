"""Access-log lines as the records that the original pipeline's pre-processor made.

Nine keys, every value a string, for consumers that know them: the table, the search index. As in
the log a text that isn't there is `-`. What the original got wrong is right here: a request that is
none has `-` for method, path and protocol, and a size that the server left out is 0.
"""

from __future__ import annotations

from operators.written import Digits, Moment, Text, Written

SEED = Written(
    (
        Text("host_address", "client", absent="-"),
        Moment("request_time"),
        Text("request_method", "method", absent="-"),
        Text("request_path", "path", absent="-", then="query", by="?"),
        Text("request_protocol", "protocol", absent="-"),
        Digits("response_code", "status", at_least=3),
        Digits("response_size", "bytes"),
        Text("referrer_host", "referrer", absent="-"),
        Text("user_agent", "agent", absent="-"),
    )
)
