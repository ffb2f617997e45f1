-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- Archives in Hive's folders: Parquet of `kinewax convert`, and the shop's CSV.

CREATE EXTERNAL TABLE IF NOT EXISTS kinewax.ecommerce_parquet (
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
PARTITIONED BY (`p_year` int, `p_month` int, `p_day` int, `p_hour` int)
STORED AS PARQUET
LOCATION 's3://BUCKET/ecommerce-parquet/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.p_year.type' = 'integer',
    'projection.p_year.range' = '2019,2035',
    'projection.p_month.type' = 'integer',
    'projection.p_month.range' = '1,12',
    'projection.p_month.digits' = '2',
    'projection.p_day.type' = 'integer',
    'projection.p_day.range' = '1,31',
    'projection.p_day.digits' = '2',
    'projection.p_hour.type' = 'integer',
    'projection.p_hour.range' = '0,23',
    'projection.p_hour.digits' = '2',
    'storage.location.template' = 's3://BUCKET/ecommerce-parquet/p_year=${p_year}/p_month=${p_month}/p_day=${p_day}/p_hour=${p_hour}/'
);

CREATE OR REPLACE VIEW kinewax.ecommerce_converted AS
SELECT
    event_at,
    CAST(event_at AS DATE) AS day,
    CAST(EXTRACT(HOUR FROM event_at) AS INTEGER) AS hour_of_day,
    MOD(CAST(EXTRACT(DOW FROM event_at) AS INTEGER), 7) AS weekday,
    user_id,
    event_type,
    product_id,
    COALESCE(category_code, '') AS category_code,
    COALESCE(brand, '') AS brand,
    price,
    COALESCE(user_session, '') AS user_session,
    category_id,
    p_year,
    p_month,
    p_day,
    p_hour
FROM (
    SELECT
        COALESCE(CAST(TRY(FROM_ISO8601_TIMESTAMP(REPLACE(REPLACE(TRIM(txn_timestamp), ' UTC', 'Z'), ' ', 'T'))) AT TIME ZONE 'UTC' AS TIMESTAMP), CAST(TRY(FROM_ISO8601_TIMESTAMP(REPLACE(REPLACE(TRIM(event_time), ' UTC', 'Z'), ' ', 'T'))) AT TIME ZONE 'UTC' AS TIMESTAMP)) AS event_at,
        TRY_CAST(user_id AS BIGINT) AS user_id,
        event_type,
        TRY_CAST(product_id AS BIGINT) AS product_id,
        category_code,
        brand,
        TRY_CAST(TRY_CAST(price AS DOUBLE) AS DECIMAL(19, 2)) AS price,
        user_session,
        TRY_CAST(category_id AS BIGINT) AS category_id,
        p_year,
        p_month,
        p_day,
        p_hour
    FROM kinewax.ecommerce_parquet AS stored
) AS told
WHERE event_at IS NOT NULL AND user_id IS NOT NULL AND event_type IS NOT NULL AND price IS NOT NULL;

CREATE EXTERNAL TABLE IF NOT EXISTS kinewax.clickstream_parquet (
    `customerid` string,
    `ipaddress` string,
    `countrycode` string,
    `gender` string,
    `trafficorigin` string,
    `event` struct<type: string, product: string, amount: string>
)
PARTITIONED BY (`p_year` int, `p_month` int, `p_day` int, `p_hour` int)
STORED AS PARQUET
LOCATION 's3://BUCKET/clickstream-parquet/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.p_year.type' = 'integer',
    'projection.p_year.range' = '2019,2035',
    'projection.p_month.type' = 'integer',
    'projection.p_month.range' = '1,12',
    'projection.p_month.digits' = '2',
    'projection.p_day.type' = 'integer',
    'projection.p_day.range' = '1,31',
    'projection.p_day.digits' = '2',
    'projection.p_hour.type' = 'integer',
    'projection.p_hour.range' = '0,23',
    'projection.p_hour.digits' = '2',
    'storage.location.template' = 's3://BUCKET/clickstream-parquet/p_year=${p_year}/p_month=${p_month}/p_day=${p_day}/p_hour=${p_hour}/'
);

CREATE OR REPLACE VIEW kinewax.clickstream_converted AS
SELECT
    customer_id,
    COALESCE(ip_address, '') AS ip_address,
    COALESCE(country_code, '') AS country_code,
    COALESCE(gender, '') AS gender,
    COALESCE(traffic_origin, '') AS traffic_origin,
    event_type,
    COALESCE(product, '') AS product,
    amount,
    p_year,
    p_month,
    p_day,
    p_hour
FROM (
    SELECT
        customerid AS customer_id,
        ipaddress AS ip_address,
        countrycode AS country_code,
        gender,
        trafficorigin AS traffic_origin,
        stored.event.type AS event_type,
        stored.event.product AS product,
        TRY_CAST(TRY_CAST(stored.event.amount AS DOUBLE) AS DECIMAL(19, 2)) AS amount,
        p_year,
        p_month,
        p_day,
        p_hour
    FROM kinewax.clickstream_parquet AS stored
) AS told
WHERE customer_id IS NOT NULL AND event_type IS NOT NULL;

CREATE EXTERNAL TABLE IF NOT EXISTS kinewax.ecommerce_csv (
    `event_time` string,
    `event_type` string,
    `product_id` string,
    `category_id` string,
    `category_code` string,
    `brand` string,
    `price` string,
    `user_id` string,
    `user_session` string
)
PARTITIONED BY (`p_year` int, `p_month` int)
ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'
STORED AS TEXTFILE
LOCATION 's3://BUCKET/ecommerce-csv/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.p_year.type' = 'integer',
    'projection.p_year.range' = '2019,2035',
    'projection.p_month.type' = 'integer',
    'projection.p_month.range' = '1,12',
    'projection.p_month.digits' = '2',
    'storage.location.template' = 's3://BUCKET/ecommerce-csv/p_year=${p_year}/p_month=${p_month}/',
    'skip.header.line.count' = '1'
);

CREATE OR REPLACE VIEW kinewax.ecommerce_from_csv AS
SELECT
    event_at,
    CAST(event_at AS DATE) AS day,
    CAST(EXTRACT(HOUR FROM event_at) AS INTEGER) AS hour_of_day,
    MOD(CAST(EXTRACT(DOW FROM event_at) AS INTEGER), 7) AS weekday,
    user_id,
    event_type,
    product_id,
    COALESCE(category_code, '') AS category_code,
    COALESCE(brand, '') AS brand,
    price,
    COALESCE(user_session, '') AS user_session,
    category_id,
    p_year,
    p_month
FROM (
    SELECT
        CAST(TRY(FROM_ISO8601_TIMESTAMP(REPLACE(REPLACE(TRIM(event_time), ' UTC', 'Z'), ' ', 'T'))) AT TIME ZONE 'UTC' AS TIMESTAMP) AS event_at,
        TRY_CAST(user_id AS BIGINT) AS user_id,
        event_type,
        TRY_CAST(product_id AS BIGINT) AS product_id,
        category_code,
        brand,
        TRY_CAST(TRY_CAST(price AS DOUBLE) AS DECIMAL(19, 2)) AS price,
        user_session,
        TRY_CAST(category_id AS BIGINT) AS category_id,
        p_year,
        p_month
    FROM kinewax.ecommerce_csv AS stored
) AS told
WHERE event_at IS NOT NULL AND user_id IS NOT NULL AND event_type IS NOT NULL AND price IS NOT NULL;
