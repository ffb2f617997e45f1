-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- The views that queries read, made anew: run grants.sql after it.

DROP VIEW IF EXISTS kinewax.ecommerce_trade;

CREATE VIEW kinewax.ecommerce_trade AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    event_type,
    category_code,
    brand,
    events,
    revenue,
    users,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        event_type,
        category_code,
        brand,
        events,
        revenue,
        users,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, event_type DESC, category_code DESC, brand DESC, events DESC, revenue DESC, users DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'trade'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 1276;

DROP VIEW IF EXISTS kinewax.ecommerce_visitors_daily;

CREATE VIEW kinewax.ecommerce_visitors_daily AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    events,
    visitors,
    visitors_approx,
    phase,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        events,
        visitors,
        visitors_approx,
        phase,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, phase, events DESC, visitors DESC, visitors_approx DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'visitors_daily'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 1276;

DROP VIEW IF EXISTS kinewax.ecommerce_carts_daily;

CREATE VIEW kinewax.ecommerce_carts_daily AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    user_id,
    product_id,
    carts,
    purchases,
    revenue,
    abandoned,
    phase,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        user_id,
        product_id,
        carts,
        purchases,
        revenue,
        abandoned,
        phase,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, phase, user_id DESC, product_id DESC, carts DESC, purchases DESC, revenue DESC, abandoned DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'carts_daily'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 1276;

DROP VIEW IF EXISTS kinewax.ecommerce_categories_hourly;

CREATE VIEW kinewax.ecommerce_categories_hourly AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    category_code,
    events,
    views,
    carts,
    purchases,
    revenue,
    phase,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        category_code,
        events,
        views,
        carts,
        purchases,
        revenue,
        phase,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, phase, category_code DESC, events DESC, views DESC, carts DESC, purchases DESC, revenue DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'categories_hourly'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 1276;

DROP VIEW IF EXISTS kinewax.ecommerce_brands_daily;

CREATE VIEW kinewax.ecommerce_brands_daily AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    brand,
    views,
    carts,
    purchases,
    revenue,
    phase,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        brand,
        views,
        carts,
        purchases,
        revenue,
        phase,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, phase, brand DESC, views DESC, carts DESC, purchases DESC, revenue DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'brands_daily'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 1276;

DROP VIEW IF EXISTS kinewax.ecommerce_products_daily;

CREATE VIEW kinewax.ecommerce_products_daily AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    product_id,
    views,
    carts,
    purchases,
    revenue,
    phase,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        product_id,
        views,
        carts,
        purchases,
        revenue,
        phase,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, phase, product_id DESC, views DESC, carts DESC, purchases DESC, revenue DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'products_daily'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 1276;

DROP VIEW IF EXISTS kinewax.ecommerce_journeys;

CREATE VIEW kinewax.ecommerce_journeys AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    user_session,
    user_id,
    events,
    views,
    carts,
    removes,
    purchases,
    revenue,
    first_category,
    last_category,
    last_seen,
    abandoned,
    phase,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        user_session,
        user_id,
        events,
        views,
        carts,
        removes,
        purchases,
        revenue,
        first_category,
        last_category,
        last_seen,
        abandoned,
        phase,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, phase, user_session DESC, user_id DESC, events DESC, views DESC, carts DESC, removes DESC, purchases DESC, revenue DESC, first_category DESC, last_category DESC, last_seen DESC, abandoned DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'journeys'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 1276;

DROP VIEW IF EXISTS kinewax.access_logs_traffic_10s;

CREATE VIEW kinewax.access_logs_traffic_10s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    vhost,
    requests,
    bytes,
    errors_4xx,
    errors_5xx,
    clients,
    paths,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        vhost,
        requests,
        bytes,
        errors_4xx,
        errors_5xx,
        CAST(clients AS BIGINT) AS clients,
        paths,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, vhost DESC, requests DESC, bytes DESC, errors_4xx DESC, errors_5xx DESC, clients DESC, paths DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'traffic_10s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 8444;

DROP VIEW IF EXISTS kinewax.access_logs_traffic_60s;

CREATE VIEW kinewax.access_logs_traffic_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    vhost,
    requests,
    bytes,
    errors_4xx,
    errors_5xx,
    clients,
    paths,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        vhost,
        requests,
        bytes,
        errors_4xx,
        errors_5xx,
        CAST(clients AS BIGINT) AS clients,
        paths,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, vhost DESC, requests DESC, bytes DESC, errors_4xx DESC, errors_5xx DESC, clients DESC, paths DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'traffic_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 8444;

DROP VIEW IF EXISTS kinewax.access_logs_statuses_60s;

CREATE VIEW kinewax.access_logs_statuses_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    status,
    method,
    requests,
    bytes,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        status,
        method,
        requests,
        bytes,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, status DESC, method DESC, requests DESC, bytes DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'statuses_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 8444;

DROP VIEW IF EXISTS kinewax.access_logs_pages_60s;

CREATE VIEW kinewax.access_logs_pages_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    path,
    requests,
    bytes,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        path,
        requests,
        bytes,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, path DESC, requests DESC, bytes DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'pages_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 8444;

DROP VIEW IF EXISTS kinewax.access_logs_agents_60s;

CREATE VIEW kinewax.access_logs_agents_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    agent,
    requests,
    bytes,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        agent,
        requests,
        bytes,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, agent DESC, requests DESC, bytes DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'agents_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 8444;

DROP VIEW IF EXISTS kinewax.access_logs_referrers_60s;

CREATE VIEW kinewax.access_logs_referrers_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    referrer,
    requests,
    bytes,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        referrer,
        requests,
        bytes,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, referrer DESC, requests DESC, bytes DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'referrers_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 8444;

DROP VIEW IF EXISTS kinewax.access_logs_unusual_traffic;

CREATE VIEW kinewax.access_logs_unusual_traffic AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    requests_a_second,
    error_share_5xx,
    error_share_4xx,
    clients,
    new_clients,
    client_entropy,
    path_entropy,
    score,
    grade,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        requests_a_second,
        error_share_5xx,
        error_share_4xx,
        clients,
        new_clients,
        client_entropy,
        path_entropy,
        score,
        grade,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, requests_a_second DESC, error_share_5xx DESC, error_share_4xx DESC, clients DESC, new_clients DESC, client_entropy DESC, path_entropy DESC, score DESC, grade DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'unusual_traffic'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 8444;

DROP VIEW IF EXISTS kinewax.clickstream_funnel_60s;

CREATE VIEW kinewax.clickstream_funnel_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    events,
    searches,
    views,
    carts,
    checkouts,
    customers,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        events,
        searches,
        views,
        carts,
        checkouts,
        customers,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, events DESC, searches DESC, views DESC, carts DESC, checkouts DESC, customers DESC, partial DESC
        ) AS nth
    FROM kinewax.clickstream_rows
    WHERE domain = 'clickstream' AND aggregate = 'funnel_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 764;

DROP VIEW IF EXISTS kinewax.clickstream_products_60s;

CREATE VIEW kinewax.clickstream_products_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    product,
    searches,
    views,
    carts,
    checkouts,
    amount,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        product,
        searches,
        views,
        carts,
        checkouts,
        amount,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, product DESC, searches DESC, views DESC, carts DESC, checkouts DESC, amount DESC, partial DESC
        ) AS nth
    FROM kinewax.clickstream_rows
    WHERE domain = 'clickstream' AND aggregate = 'products_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 764;

DROP VIEW IF EXISTS kinewax.clickstream_countries_60s;

CREATE VIEW kinewax.clickstream_countries_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    country_code,
    events,
    checkouts,
    amount,
    mean_amount,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        country_code,
        events,
        checkouts,
        amount,
        mean_amount,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, country_code DESC, events DESC, checkouts DESC, amount DESC, mean_amount DESC, partial DESC
        ) AS nth
    FROM kinewax.clickstream_rows
    WHERE domain = 'clickstream' AND aggregate = 'countries_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 764;

DROP VIEW IF EXISTS kinewax.clickstream_genders_60s;

CREATE VIEW kinewax.clickstream_genders_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    gender,
    events,
    checkouts,
    amount,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        gender,
        events,
        checkouts,
        amount,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, gender DESC, events DESC, checkouts DESC, amount DESC, partial DESC
        ) AS nth
    FROM kinewax.clickstream_rows
    WHERE domain = 'clickstream' AND aggregate = 'genders_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 764;

DROP VIEW IF EXISTS kinewax.clickstream_origins_60s;

CREATE VIEW kinewax.clickstream_origins_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    traffic_origin,
    events,
    checkouts,
    amount,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        traffic_origin,
        events,
        checkouts,
        amount,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, traffic_origin DESC, events DESC, checkouts DESC, amount DESC, partial DESC
        ) AS nth
    FROM kinewax.clickstream_rows
    WHERE domain = 'clickstream' AND aggregate = 'origins_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 764;

DROP VIEW IF EXISTS kinewax.wiki_changes_10s;

CREATE VIEW kinewax.wiki_changes_10s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    wiki,
    type,
    changes,
    bot_changes,
    users,
    bytes_changed,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        wiki,
        type,
        changes,
        bot_changes,
        users,
        bytes_changed,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, wiki DESC, type DESC, changes DESC, bot_changes DESC, users DESC, bytes_changed DESC, partial DESC
        ) AS nth
    FROM kinewax.wiki_rows
    WHERE domain = 'wiki' AND aggregate = 'changes_10s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 1276;

DROP VIEW IF EXISTS kinewax.wiki_changes_60s;

CREATE VIEW kinewax.wiki_changes_60s AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    wiki,
    type,
    changes,
    bot_changes,
    users,
    bytes_changed,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        wiki,
        type,
        changes,
        bot_changes,
        users,
        bytes_changed,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, wiki DESC, type DESC, changes DESC, bot_changes DESC, users DESC, bytes_changed DESC, partial DESC
        ) AS nth
    FROM kinewax.wiki_rows
    WHERE domain = 'wiki' AND aggregate = 'changes_60s'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 1276;

DROP VIEW IF EXISTS kinewax.wiki_unusual_editing;

CREATE VIEW kinewax.wiki_unusual_editing AS
SELECT
    row_id,
    domain,
    aggregate,
    window_start,
    window_end,
    edits_a_second,
    new_pages_a_second,
    bytes_a_second,
    bot_share,
    score,
    grade,
    emitted_at,
    partial
FROM (
    SELECT
        row_id,
        domain,
        aggregate,
        window_start,
        window_end,
        edits_a_second,
        new_pages_a_second,
        bytes_a_second,
        bot_share,
        score,
        grade,
        emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY emitted_at DESC, edits_a_second DESC, new_pages_a_second DESC, bytes_a_second DESC, bot_share DESC, score DESC, grade DESC, partial DESC
        ) AS nth
    FROM kinewax.wiki_rows
    WHERE domain = 'wiki' AND aggregate = 'unusual_editing'
) AS told
WHERE nth = 1 OR OCTET_LENGTH(row_id) > 1276;

DROP VIEW IF EXISTS kinewax.ecommerce_events;

CREATE VIEW kinewax.ecommerce_events AS
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
    category_id
FROM (
    SELECT
        COALESCE(TRY_CAST(REPLACE(REPLACE(REPLACE(NULLIF(TRIM(txn_timestamp), ''), ' UTC', 'Z'), 'Z', '+00'), 'T', ' ') AS TIMESTAMPTZ) AT TIME ZONE 'UTC', TRY_CAST(REPLACE(REPLACE(REPLACE(NULLIF(TRIM(event_time), ''), ' UTC', 'Z'), 'Z', '+00'), 'T', ' ') AS TIMESTAMPTZ) AT TIME ZONE 'UTC') AS event_at,
        user_id,
        event_type,
        product_id,
        category_code,
        brand,
        price,
        user_session,
        category_id
    FROM kinewax.ecommerce_raw AS stored
) AS told
WHERE event_at IS NOT NULL AND user_id IS NOT NULL AND event_type IS NOT NULL AND price IS NOT NULL;

DROP VIEW IF EXISTS kinewax.clickstream_events;

CREATE VIEW kinewax.clickstream_events AS
SELECT
    customer_id,
    COALESCE(ip_address, '') AS ip_address,
    COALESCE(country_code, '') AS country_code,
    COALESCE(gender, '') AS gender,
    COALESCE(traffic_origin, '') AS traffic_origin,
    event_type,
    COALESCE(product, '') AS product,
    amount
FROM (
    SELECT
        customerid AS customer_id,
        ipaddress AS ip_address,
        countrycode AS country_code,
        gender,
        trafficorigin AS traffic_origin,
        CAST(stored.event.type AS VARCHAR(64)) AS event_type,
        CAST(stored.event.product AS VARCHAR(256)) AS product,
        CAST(stored.event.amount AS DECIMAL(19, 2)) AS amount
    FROM kinewax.clickstream_raw AS stored
) AS told
WHERE customer_id IS NOT NULL AND event_type IS NOT NULL;
