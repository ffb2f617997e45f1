-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- Tables with projected partitions; put your bucket's name in place of BUCKET.

CREATE DATABASE IF NOT EXISTS kinewax;

CREATE EXTERNAL TABLE IF NOT EXISTS kinewax.ecommerce_rows (
    `row_id` string,
    `domain` string,
    `aggregate` string,
    `window_start` string,
    `window_end` string,
    `event_type` string,
    `category_code` string,
    `brand` string,
    `events` bigint,
    `revenue` double,
    `users` bigint,
    `visitors` bigint,
    `visitors_approx` bigint,
    `phase` string,
    `user_id` bigint,
    `product_id` bigint,
    `carts` bigint,
    `purchases` bigint,
    `abandoned` boolean,
    `views` bigint,
    `user_session` string,
    `removes` bigint,
    `first_category` string,
    `last_category` string,
    `last_seen` string,
    `emitted_at` string,
    `partial` boolean
)
PARTITIONED BY (`delivered_on` string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('ignore.malformed.json' = 'true')
LOCATION 's3://BUCKET/ecommerce-aggregates/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.delivered_on.type' = 'date',
    'projection.delivered_on.format' = 'yyyy/MM/dd',
    'projection.delivered_on.range' = '2026/01/01,NOW',
    'projection.delivered_on.interval' = '1',
    'projection.delivered_on.interval.unit' = 'DAYS',
    'storage.location.template' = 's3://BUCKET/ecommerce-aggregates/${delivered_on}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS kinewax.access_logs_rows (
    `row_id` string,
    `domain` string,
    `aggregate` string,
    `window_start` string,
    `window_end` string,
    `vhost` string,
    `requests` bigint,
    `bytes` bigint,
    `errors_4xx` bigint,
    `errors_5xx` bigint,
    `clients` double,
    `paths` bigint,
    `status` bigint,
    `method` string,
    `path` string,
    `agent` string,
    `referrer` string,
    `requests_a_second` double,
    `error_share_5xx` double,
    `error_share_4xx` double,
    `new_clients` double,
    `client_entropy` double,
    `path_entropy` double,
    `score` double,
    `grade` double,
    `emitted_at` string,
    `partial` boolean
)
PARTITIONED BY (`delivered_on` string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('ignore.malformed.json' = 'true')
LOCATION 's3://BUCKET/access_logs-aggregates/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.delivered_on.type' = 'date',
    'projection.delivered_on.format' = 'yyyy/MM/dd',
    'projection.delivered_on.range' = '2026/01/01,NOW',
    'projection.delivered_on.interval' = '1',
    'projection.delivered_on.interval.unit' = 'DAYS',
    'storage.location.template' = 's3://BUCKET/access_logs-aggregates/${delivered_on}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS kinewax.clickstream_rows (
    `row_id` string,
    `domain` string,
    `aggregate` string,
    `window_start` string,
    `window_end` string,
    `events` bigint,
    `searches` bigint,
    `views` bigint,
    `carts` bigint,
    `checkouts` bigint,
    `customers` bigint,
    `product` string,
    `amount` double,
    `country_code` string,
    `mean_amount` double,
    `gender` string,
    `traffic_origin` string,
    `emitted_at` string,
    `partial` boolean
)
PARTITIONED BY (`delivered_on` string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('ignore.malformed.json' = 'true')
LOCATION 's3://BUCKET/clickstream-aggregates/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.delivered_on.type' = 'date',
    'projection.delivered_on.format' = 'yyyy/MM/dd',
    'projection.delivered_on.range' = '2026/01/01,NOW',
    'projection.delivered_on.interval' = '1',
    'projection.delivered_on.interval.unit' = 'DAYS',
    'storage.location.template' = 's3://BUCKET/clickstream-aggregates/${delivered_on}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS kinewax.wiki_rows (
    `row_id` string,
    `domain` string,
    `aggregate` string,
    `window_start` string,
    `window_end` string,
    `wiki` string,
    `type` string,
    `changes` bigint,
    `bot_changes` bigint,
    `users` bigint,
    `bytes_changed` bigint,
    `edits_a_second` double,
    `new_pages_a_second` double,
    `bytes_a_second` double,
    `bot_share` double,
    `score` double,
    `grade` double,
    `emitted_at` string,
    `partial` boolean
)
PARTITIONED BY (`delivered_on` string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('ignore.malformed.json' = 'true')
LOCATION 's3://BUCKET/wiki-aggregates/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.delivered_on.type' = 'date',
    'projection.delivered_on.format' = 'yyyy/MM/dd',
    'projection.delivered_on.range' = '2026/01/01,NOW',
    'projection.delivered_on.interval' = '1',
    'projection.delivered_on.interval.unit' = 'DAYS',
    'storage.location.template' = 's3://BUCKET/wiki-aggregates/${delivered_on}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS kinewax.ecommerce_raw (
    `txn_timestamp` string,
    `event_time` string,
    `user_id` string,
    `event_type` string,
    `product_id` string,
    `category_code` string,
    `brand` string,
    `price` string,
    `user_session` string,
    `category_id` string
)
PARTITIONED BY (`delivered_on` string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('ignore.malformed.json' = 'true')
LOCATION 's3://BUCKET/ecommerce-raw/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.delivered_on.type' = 'date',
    'projection.delivered_on.format' = 'yyyy/MM/dd',
    'projection.delivered_on.range' = '2026/01/01,NOW',
    'projection.delivered_on.interval' = '1',
    'projection.delivered_on.interval.unit' = 'DAYS',
    'storage.location.template' = 's3://BUCKET/ecommerce-raw/${delivered_on}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS kinewax.clickstream_raw (
    `customerid` string,
    `ipaddress` string,
    `countrycode` string,
    `gender` string,
    `trafficorigin` string,
    `event` struct<type: string, product: string, amount: string>
)
PARTITIONED BY (`delivered_on` string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('ignore.malformed.json' = 'true')
LOCATION 's3://BUCKET/clickstream-raw/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.delivered_on.type' = 'date',
    'projection.delivered_on.format' = 'yyyy/MM/dd',
    'projection.delivered_on.range' = '2026/01/01,NOW',
    'projection.delivered_on.interval' = '1',
    'projection.delivered_on.interval.unit' = 'DAYS',
    'storage.location.template' = 's3://BUCKET/clickstream-raw/${delivered_on}/'
);
