"""Write what deploy/ repeats of declarations: tables, names, boards, rules. `make docs`.

What a row holds is declared once, in dataflows/; deploy/redshift/ and deploy/athena/ repeat it
for a warehouse. Boards are declared beside their JSON, in deploy/grafana/; Kubernetes has the rules
of Prometheus in a form of its own. Tests fail while a file differs from what this would write.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from dataflows.registry import DOMAINS
from deploy.aws.declared import parameters, raw_tables
from deploy.grafana.boards import BOARDS
from deploy.grafana.panels import as_json
from service.warehouse import athena, redshift
from service.warehouse.tables import events_of, rows_of

DEPLOY = Path(__file__).resolve().parent
_NOTE = "-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.\n"

ROWS = [rows_of(domain) for domain in DOMAINS.values()]
# Domains that write single events out archive those, in a form of their own. Access logs are
# archived as lines, which are no events before kinewax has read them.
EVENTS = [events_of(one) for one in DOMAINS.values() if one.written is None]

# The shop's files, as its batch side has them: ecomm_user_activity/p_year=2019/p_month=11/.
CSV_COLUMNS = {
    "ecommerce": (
        *("event_time", "event_type", "product_id", "category_id", "category_code"),
        *("brand", "price", "user_id", "user_session"),
    )
}


def main() -> None:
    """Write every file."""
    for name, text in {**files(), **boards(), **rules(), **templates()}.items():
        (DEPLOY / name).parent.mkdir(exist_ok=True)
        (DEPLOY / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"deploy/{name}\n")


def files() -> dict[str, str]:
    """Return the text of each file for a warehouse by its path in deploy/."""
    return {
        "redshift/users.sql": _script(
            "Two users, to be created once: one loads, the other reads.", redshift.users()
        ),
        "redshift/tables.sql": _script(
            "Tables with sort and distribution keys.", redshift.tables(ROWS, EVENTS)
        ),
        "redshift/views.sql": _script(
            "The views that queries read, made anew: run grants.sql after it.",
            redshift.views(ROWS, EVENTS),
        ),
        "redshift/grants.sql": _script(
            "Least privilege: Firehose may only insert, readers see only views.",
            redshift.grants(ROWS, EVENTS),
        ),
        "redshift/copy.sql": _script(
            "How a table is loaded; Firehose takes what follows IAM_ROLE as its CopyOptions.",
            redshift.copies(ROWS, EVENTS),
        ),
        "redshift/compact.sql": _script(
            "Takes out rows that later ones have superseded; the views are right without it.",
            redshift.compaction(ROWS),
        ),
        "athena/tables.sql": _script(
            "Tables with projected partitions; put your bucket's name in place of BUCKET.",
            athena.tables(ROWS, EVENTS),
        ),
        "athena/hive.sql": _script(
            "Archives in Hive's folders: Parquet of `kinewax convert`, and the shop's CSV.",
            athena.hive_tables(EVENTS, CSV_COLUMNS),
        ),
        "athena/views.sql": _script("The views that queries read.", athena.views(ROWS, EVENTS)),
        "athena/period.sql": _script(
            "The views over some days of delivery: put yours in place of FIRST_DAY and LAST_DAY.",
            athena.period_views(ROWS, EVENTS),
        ),
    }


def boards() -> dict[str, str]:
    """Return the JSON of each board by its path in deploy/."""
    return {
        f"grafana/{board.name}.json": json.dumps(as_json(board), indent=2) + "\n"
        for board in BOARDS
    }


def rules() -> dict[str, str]:
    """Return the rules as Prometheus's operator on Kubernetes takes them, by path in deploy/."""
    files = [DEPLOY / "prometheus" / name for name in ("recording.yml", "alerts.yml")]
    groups = "".join(file.read_text(encoding="utf-8").partition("groups:\n")[2] for file in files)
    return {"prometheus/kubernetes.yaml": _RULES + textwrap.indent(groups, "  ")}


_RULES = """\
# Written by `make docs` from recording.yml and alerts.yml: change those instead.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: kinewax
  labels: {app.kubernetes.io/name: kinewax}
spec:
  groups:
"""


def templates() -> dict[str, str]:
    """Return the text of what CloudFormation takes by its path in deploy/."""
    return {
        "aws/raw-tables.yaml": raw_tables(EVENTS),
        **{f"aws/parameters/{one.name}.json": parameters(one) for one in DOMAINS.values()},
    }


def _script(what: str, statements: Iterable[str]) -> str:
    return f"{_NOTE}-- {what}\n\n" + "\n\n".join(f"{one};" for one in statements) + "\n"


if __name__ == "__main__":
    main()
