"""All boards, in the order in which they are looked at.

`make docs` writes each to deploy/grafana/NAME.json. Each panel's query is run on a real Prometheus
that watches services under faults, in tests/deploy/test_prometheus.py.
"""

from __future__ import annotations

from deploy.grafana.detections import DETECTIONS
from deploy.grafana.forest import FOREST
from deploy.grafana.kinesis import KINESIS
from deploy.grafana.overview import OVERVIEW
from deploy.grafana.runtime import RUNTIME
from deploy.grafana.shop import SHOP

BOARDS = (OVERVIEW, KINESIS, DETECTIONS, FOREST, RUNTIME, SHOP)
