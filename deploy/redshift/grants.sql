-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- Least privilege: Firehose may only insert, readers see only views.

GRANT USAGE ON SCHEMA kinewax TO firehose_loader;

GRANT INSERT ON kinewax.ecommerce_rows TO firehose_loader;

GRANT INSERT ON kinewax.access_logs_rows TO firehose_loader;

GRANT INSERT ON kinewax.clickstream_rows TO firehose_loader;

GRANT INSERT ON kinewax.wiki_rows TO firehose_loader;

GRANT INSERT ON kinewax.ecommerce_raw TO firehose_loader;

GRANT INSERT ON kinewax.clickstream_raw TO firehose_loader;

GRANT USAGE ON SCHEMA kinewax TO insights_reader;

GRANT SELECT ON kinewax.ecommerce_trade TO insights_reader;

GRANT SELECT ON kinewax.ecommerce_visitors_daily TO insights_reader;

GRANT SELECT ON kinewax.ecommerce_carts_daily TO insights_reader;

GRANT SELECT ON kinewax.ecommerce_categories_hourly TO insights_reader;

GRANT SELECT ON kinewax.ecommerce_brands_daily TO insights_reader;

GRANT SELECT ON kinewax.ecommerce_products_daily TO insights_reader;

GRANT SELECT ON kinewax.ecommerce_journeys TO insights_reader;

GRANT SELECT ON kinewax.access_logs_traffic_10s TO insights_reader;

GRANT SELECT ON kinewax.access_logs_traffic_60s TO insights_reader;

GRANT SELECT ON kinewax.access_logs_statuses_60s TO insights_reader;

GRANT SELECT ON kinewax.access_logs_pages_60s TO insights_reader;

GRANT SELECT ON kinewax.access_logs_agents_60s TO insights_reader;

GRANT SELECT ON kinewax.access_logs_referrers_60s TO insights_reader;

GRANT SELECT ON kinewax.access_logs_unusual_traffic TO insights_reader;

GRANT SELECT ON kinewax.clickstream_funnel_60s TO insights_reader;

GRANT SELECT ON kinewax.clickstream_products_60s TO insights_reader;

GRANT SELECT ON kinewax.clickstream_countries_60s TO insights_reader;

GRANT SELECT ON kinewax.clickstream_genders_60s TO insights_reader;

GRANT SELECT ON kinewax.clickstream_origins_60s TO insights_reader;

GRANT SELECT ON kinewax.wiki_changes_10s TO insights_reader;

GRANT SELECT ON kinewax.wiki_changes_60s TO insights_reader;

GRANT SELECT ON kinewax.wiki_unusual_editing TO insights_reader;

GRANT SELECT ON kinewax.ecommerce_events TO insights_reader;

GRANT SELECT ON kinewax.clickstream_events TO insights_reader;
