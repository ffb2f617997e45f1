-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- Tables with sort and distribution keys.

CREATE SCHEMA IF NOT EXISTS kinewax;

CREATE TABLE IF NOT EXISTS kinewax.ecommerce_rows (
    row_id VARCHAR(65535) NOT NULL,
    domain VARCHAR(65535) NOT NULL,
    aggregate VARCHAR(65535) NOT NULL,
    window_start TIMESTAMP NOT NULL,
    window_end TIMESTAMP NOT NULL,
    event_type VARCHAR(65535),
    category_code VARCHAR(65535),
    brand VARCHAR(65535),
    events BIGINT,
    revenue DECIMAL(19, 2),
    users BIGINT,
    visitors BIGINT,
    visitors_approx BIGINT,
    phase VARCHAR(65535),
    user_id BIGINT,
    product_id BIGINT,
    carts BIGINT,
    purchases BIGINT,
    abandoned BOOLEAN,
    views BIGINT,
    user_session VARCHAR(65535),
    removes BIGINT,
    first_category VARCHAR(65535),
    last_category VARCHAR(65535),
    last_seen TIMESTAMP,
    emitted_at TIMESTAMP NOT NULL,
    partial BOOLEAN
)
DISTSTYLE KEY DISTKEY (row_id)
COMPOUND SORTKEY (aggregate, window_start);

CREATE TABLE IF NOT EXISTS kinewax.access_logs_rows (
    row_id VARCHAR(65535) NOT NULL,
    domain VARCHAR(65535) NOT NULL,
    aggregate VARCHAR(65535) NOT NULL,
    window_start TIMESTAMP NOT NULL,
    window_end TIMESTAMP NOT NULL,
    vhost VARCHAR(65535),
    requests BIGINT,
    bytes BIGINT,
    errors_4xx BIGINT,
    errors_5xx BIGINT,
    clients DOUBLE PRECISION,
    paths BIGINT,
    status BIGINT,
    method VARCHAR(65535),
    path VARCHAR(65535),
    agent VARCHAR(65535),
    referrer VARCHAR(65535),
    requests_a_second DOUBLE PRECISION,
    error_share_5xx DOUBLE PRECISION,
    error_share_4xx DOUBLE PRECISION,
    new_clients DOUBLE PRECISION,
    client_entropy DOUBLE PRECISION,
    path_entropy DOUBLE PRECISION,
    score DOUBLE PRECISION,
    grade DOUBLE PRECISION,
    emitted_at TIMESTAMP NOT NULL,
    partial BOOLEAN
)
DISTSTYLE KEY DISTKEY (row_id)
COMPOUND SORTKEY (aggregate, window_start);

CREATE TABLE IF NOT EXISTS kinewax.clickstream_rows (
    row_id VARCHAR(65535) NOT NULL,
    domain VARCHAR(65535) NOT NULL,
    aggregate VARCHAR(65535) NOT NULL,
    window_start TIMESTAMP NOT NULL,
    window_end TIMESTAMP NOT NULL,
    events BIGINT,
    searches BIGINT,
    views BIGINT,
    carts BIGINT,
    checkouts BIGINT,
    customers BIGINT,
    product VARCHAR(65535),
    amount DECIMAL(19, 2),
    country_code VARCHAR(65535),
    mean_amount DOUBLE PRECISION,
    gender VARCHAR(65535),
    traffic_origin VARCHAR(65535),
    emitted_at TIMESTAMP NOT NULL,
    partial BOOLEAN
)
DISTSTYLE KEY DISTKEY (row_id)
COMPOUND SORTKEY (aggregate, window_start);

CREATE TABLE IF NOT EXISTS kinewax.wiki_rows (
    row_id VARCHAR(65535) NOT NULL,
    domain VARCHAR(65535) NOT NULL,
    aggregate VARCHAR(65535) NOT NULL,
    window_start TIMESTAMP NOT NULL,
    window_end TIMESTAMP NOT NULL,
    wiki VARCHAR(65535),
    type VARCHAR(65535),
    changes BIGINT,
    bot_changes BIGINT,
    users BIGINT,
    bytes_changed BIGINT,
    edits_a_second DOUBLE PRECISION,
    new_pages_a_second DOUBLE PRECISION,
    bytes_a_second DOUBLE PRECISION,
    bot_share DOUBLE PRECISION,
    score DOUBLE PRECISION,
    grade DOUBLE PRECISION,
    emitted_at TIMESTAMP NOT NULL,
    partial BOOLEAN
)
DISTSTYLE KEY DISTKEY (row_id)
COMPOUND SORTKEY (aggregate, window_start);

CREATE TABLE IF NOT EXISTS kinewax.ecommerce_raw (
    txn_timestamp TIMESTAMP,
    event_time TIMESTAMP,
    user_id BIGINT NOT NULL,
    event_type VARCHAR(65535) NOT NULL,
    product_id BIGINT,
    category_code VARCHAR(65535),
    brand VARCHAR(65535),
    price DECIMAL(19, 2) NOT NULL,
    user_session VARCHAR(65535),
    category_id BIGINT
)
DISTSTYLE KEY DISTKEY (user_id)
COMPOUND SORTKEY (txn_timestamp, event_time);

CREATE TABLE IF NOT EXISTS kinewax.clickstream_raw (
    customerid VARCHAR(65535) NOT NULL,
    ipaddress VARCHAR(65535),
    countrycode VARCHAR(65535),
    gender VARCHAR(65535),
    trafficorigin VARCHAR(65535),
    event SUPER
)
DISTSTYLE KEY DISTKEY (customerid);
