-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- Tables with sort and distribution keys.

CREATE SCHEMA IF NOT EXISTS kinewax;

CREATE TABLE IF NOT EXISTS kinewax.ecommerce_rows (
    row_id VARCHAR(1280) NOT NULL,
    domain VARCHAR(64) NOT NULL,
    aggregate VARCHAR(64) NOT NULL,
    window_start TIMESTAMP NOT NULL,
    window_end TIMESTAMP NOT NULL,
    event_type VARCHAR(64),
    category_code VARCHAR(256),
    brand VARCHAR(256),
    events BIGINT,
    revenue DECIMAL(19, 2),
    users BIGINT,
    visitors BIGINT,
    visitors_approx BIGINT,
    phase VARCHAR(64),
    user_id BIGINT,
    product_id BIGINT,
    carts BIGINT,
    purchases BIGINT,
    abandoned BOOLEAN,
    views BIGINT,
    user_session VARCHAR(512),
    removes BIGINT,
    first_category VARCHAR(256),
    last_category VARCHAR(256),
    last_seen TIMESTAMP,
    emitted_at TIMESTAMP NOT NULL,
    partial BOOLEAN
)
DISTSTYLE KEY DISTKEY (row_id)
COMPOUND SORTKEY (aggregate, window_start);

CREATE TABLE IF NOT EXISTS kinewax.access_logs_rows (
    row_id VARCHAR(8448) NOT NULL,
    domain VARCHAR(64) NOT NULL,
    aggregate VARCHAR(64) NOT NULL,
    window_start TIMESTAMP NOT NULL,
    window_end TIMESTAMP NOT NULL,
    vhost VARCHAR(256),
    requests BIGINT,
    bytes BIGINT,
    errors_4xx BIGINT,
    errors_5xx BIGINT,
    clients DOUBLE PRECISION,
    paths BIGINT,
    status BIGINT,
    method VARCHAR(64),
    path VARCHAR(4096),
    agent VARCHAR(4096),
    referrer VARCHAR(4096),
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
    row_id VARCHAR(768) NOT NULL,
    domain VARCHAR(64) NOT NULL,
    aggregate VARCHAR(64) NOT NULL,
    window_start TIMESTAMP NOT NULL,
    window_end TIMESTAMP NOT NULL,
    events BIGINT,
    searches BIGINT,
    views BIGINT,
    carts BIGINT,
    checkouts BIGINT,
    customers BIGINT,
    product VARCHAR(256),
    amount DECIMAL(19, 2),
    country_code VARCHAR(64),
    mean_amount DOUBLE PRECISION,
    gender VARCHAR(64),
    traffic_origin VARCHAR(256),
    emitted_at TIMESTAMP NOT NULL,
    partial BOOLEAN
)
DISTSTYLE KEY DISTKEY (row_id)
COMPOUND SORTKEY (aggregate, window_start);

CREATE TABLE IF NOT EXISTS kinewax.wiki_rows (
    row_id VARCHAR(1280) NOT NULL,
    domain VARCHAR(64) NOT NULL,
    aggregate VARCHAR(64) NOT NULL,
    window_start TIMESTAMP NOT NULL,
    window_end TIMESTAMP NOT NULL,
    wiki VARCHAR(512),
    type VARCHAR(64),
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
    txn_timestamp VARCHAR(64),
    event_time VARCHAR(64),
    user_id BIGINT NOT NULL,
    event_type VARCHAR(64) NOT NULL,
    product_id BIGINT,
    category_code VARCHAR(256),
    brand VARCHAR(256),
    price DECIMAL(19, 2) NOT NULL,
    user_session VARCHAR(512),
    category_id BIGINT
)
DISTSTYLE KEY DISTKEY (user_id);

CREATE TABLE IF NOT EXISTS kinewax.clickstream_raw (
    customerid VARCHAR(512) NOT NULL,
    ipaddress VARCHAR(512),
    countrycode VARCHAR(64),
    gender VARCHAR(64),
    trafficorigin VARCHAR(256),
    event SUPER
)
DISTSTYLE KEY DISTKEY (customerid);
