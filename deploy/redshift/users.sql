-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- Two users of least privilege: Firehose may only insert, readers see only views.

REVOKE ALL ON SCHEMA kinewax FROM PUBLIC;

CREATE USER kinewax_firehose PASSWORD DISABLE;

GRANT USAGE ON SCHEMA kinewax TO kinewax_firehose;

GRANT INSERT ON kinewax.ecommerce_rows TO kinewax_firehose;

GRANT INSERT ON kinewax.access_logs_rows TO kinewax_firehose;

GRANT INSERT ON kinewax.ecommerce_raw TO kinewax_firehose;

GRANT INSERT ON kinewax.clickstream_raw TO kinewax_firehose;

CREATE USER kinewax_reader PASSWORD DISABLE;

GRANT USAGE ON SCHEMA kinewax TO kinewax_reader;

GRANT SELECT ON kinewax.ecommerce_trade TO kinewax_reader;

GRANT SELECT ON kinewax.access_logs_traffic_10s TO kinewax_reader;

GRANT SELECT ON kinewax.access_logs_traffic_60s TO kinewax_reader;

GRANT SELECT ON kinewax.access_logs_statuses_60s TO kinewax_reader;

GRANT SELECT ON kinewax.access_logs_pages_60s TO kinewax_reader;

GRANT SELECT ON kinewax.access_logs_agents_60s TO kinewax_reader;

GRANT SELECT ON kinewax.access_logs_referrers_60s TO kinewax_reader;

GRANT SELECT ON kinewax.access_logs_unusual_traffic TO kinewax_reader;

GRANT SELECT ON kinewax.ecommerce_events TO kinewax_reader;

GRANT SELECT ON kinewax.clickstream_events TO kinewax_reader;

ALTER USER kinewax_reader SET search_path TO kinewax;
