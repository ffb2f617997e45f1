-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- The views that queries read.

CREATE OR REPLACE VIEW kinewax.ecommerce_trade AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        event_type,
        category_code,
        brand,
        events,
        CAST(revenue AS DECIMAL(19, 2)) AS revenue,
        users,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, event_type DESC, category_code DESC, brand DESC, events DESC, revenue DESC, users DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'trade'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.ecommerce_visitors_daily AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        events,
        visitors,
        visitors_approx,
        phase,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, phase, events DESC, visitors DESC, visitors_approx DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'visitors_daily'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.ecommerce_carts_daily AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        user_id,
        product_id,
        carts,
        purchases,
        CAST(revenue AS DECIMAL(19, 2)) AS revenue,
        abandoned,
        phase,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, phase, user_id DESC, product_id DESC, carts DESC, purchases DESC, revenue DESC, abandoned DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'carts_daily'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.ecommerce_categories_hourly AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        category_code,
        events,
        views,
        carts,
        purchases,
        CAST(revenue AS DECIMAL(19, 2)) AS revenue,
        phase,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, phase, category_code DESC, events DESC, views DESC, carts DESC, purchases DESC, revenue DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'categories_hourly'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.ecommerce_brands_daily AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        brand,
        views,
        carts,
        purchases,
        CAST(revenue AS DECIMAL(19, 2)) AS revenue,
        phase,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, phase, brand DESC, views DESC, carts DESC, purchases DESC, revenue DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'brands_daily'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.ecommerce_products_daily AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        product_id,
        views,
        carts,
        purchases,
        CAST(revenue AS DECIMAL(19, 2)) AS revenue,
        phase,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, phase, product_id DESC, views DESC, carts DESC, purchases DESC, revenue DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'products_daily'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.ecommerce_journeys AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        user_session,
        user_id,
        events,
        views,
        carts,
        removes,
        purchases,
        CAST(revenue AS DECIMAL(19, 2)) AS revenue,
        first_category,
        last_category,
        CAST(REPLACE(REPLACE(last_seen, 'T', ' '), 'Z', '') AS TIMESTAMP) AS last_seen,
        abandoned,
        phase,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, phase, user_session DESC, user_id DESC, events DESC, views DESC, carts DESC, removes DESC, purchases DESC, revenue DESC, first_category DESC, last_category DESC, last_seen DESC, abandoned DESC, partial DESC
        ) AS nth
    FROM kinewax.ecommerce_rows
    WHERE domain = 'ecommerce' AND aggregate = 'journeys'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.access_logs_traffic_10s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        vhost,
        requests,
        bytes,
        errors_4xx,
        errors_5xx,
        CAST(clients AS bigint) AS clients,
        paths,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, vhost DESC, requests DESC, bytes DESC, errors_4xx DESC, errors_5xx DESC, clients DESC, paths DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'traffic_10s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.access_logs_traffic_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        vhost,
        requests,
        bytes,
        errors_4xx,
        errors_5xx,
        CAST(clients AS bigint) AS clients,
        paths,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, vhost DESC, requests DESC, bytes DESC, errors_4xx DESC, errors_5xx DESC, clients DESC, paths DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'traffic_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.access_logs_statuses_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        status,
        method,
        requests,
        bytes,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, status DESC, method DESC, requests DESC, bytes DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'statuses_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.access_logs_pages_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        path,
        requests,
        bytes,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, path DESC, requests DESC, bytes DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'pages_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.access_logs_agents_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        agent,
        requests,
        bytes,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, agent DESC, requests DESC, bytes DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'agents_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.access_logs_referrers_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        referrer,
        requests,
        bytes,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, referrer DESC, requests DESC, bytes DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'referrers_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.access_logs_unusual_traffic AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        requests_a_second,
        error_share_5xx,
        error_share_4xx,
        clients,
        new_clients,
        client_entropy,
        path_entropy,
        score,
        grade,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, requests_a_second DESC, error_share_5xx DESC, error_share_4xx DESC, clients DESC, new_clients DESC, client_entropy DESC, path_entropy DESC, score DESC, grade DESC, partial DESC
        ) AS nth
    FROM kinewax.access_logs_rows
    WHERE domain = 'access_logs' AND aggregate = 'unusual_traffic'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.clickstream_funnel_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        events,
        searches,
        views,
        carts,
        checkouts,
        customers,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, events DESC, searches DESC, views DESC, carts DESC, checkouts DESC, customers DESC, partial DESC
        ) AS nth
    FROM kinewax.clickstream_rows
    WHERE domain = 'clickstream' AND aggregate = 'funnel_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.clickstream_products_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        product,
        searches,
        views,
        carts,
        checkouts,
        CAST(amount AS DECIMAL(19, 2)) AS amount,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, product DESC, searches DESC, views DESC, carts DESC, checkouts DESC, amount DESC, partial DESC
        ) AS nth
    FROM kinewax.clickstream_rows
    WHERE domain = 'clickstream' AND aggregate = 'products_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.clickstream_countries_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        country_code,
        events,
        checkouts,
        CAST(amount AS DECIMAL(19, 2)) AS amount,
        mean_amount,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, country_code DESC, events DESC, checkouts DESC, amount DESC, mean_amount DESC, partial DESC
        ) AS nth
    FROM kinewax.clickstream_rows
    WHERE domain = 'clickstream' AND aggregate = 'countries_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.clickstream_genders_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        gender,
        events,
        checkouts,
        CAST(amount AS DECIMAL(19, 2)) AS amount,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, gender DESC, events DESC, checkouts DESC, amount DESC, partial DESC
        ) AS nth
    FROM kinewax.clickstream_rows
    WHERE domain = 'clickstream' AND aggregate = 'genders_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.clickstream_origins_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        traffic_origin,
        events,
        checkouts,
        CAST(amount AS DECIMAL(19, 2)) AS amount,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, traffic_origin DESC, events DESC, checkouts DESC, amount DESC, partial DESC
        ) AS nth
    FROM kinewax.clickstream_rows
    WHERE domain = 'clickstream' AND aggregate = 'origins_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.wiki_changes_10s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        wiki,
        type,
        changes,
        bot_changes,
        users,
        bytes_changed,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, wiki DESC, type DESC, changes DESC, bot_changes DESC, users DESC, bytes_changed DESC, partial DESC
        ) AS nth
    FROM kinewax.wiki_rows
    WHERE domain = 'wiki' AND aggregate = 'changes_10s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.wiki_changes_60s AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        wiki,
        type,
        changes,
        bot_changes,
        users,
        bytes_changed,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, wiki DESC, type DESC, changes DESC, bot_changes DESC, users DESC, bytes_changed DESC, partial DESC
        ) AS nth
    FROM kinewax.wiki_rows
    WHERE domain = 'wiki' AND aggregate = 'changes_60s'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.wiki_unusual_editing AS
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
        CAST(REPLACE(REPLACE(window_start, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_start,
        CAST(REPLACE(REPLACE(window_end, 'T', ' '), 'Z', '') AS TIMESTAMP) AS window_end,
        edits_a_second,
        new_pages_a_second,
        bytes_a_second,
        bot_share,
        score,
        grade,
        CAST(REPLACE(REPLACE(emitted_at, 'T', ' '), 'Z', '') AS TIMESTAMP) AS emitted_at,
        partial,
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY REPLACE(emitted_at, 'Z', '') DESC, edits_a_second DESC, new_pages_a_second DESC, bytes_a_second DESC, bot_share DESC, score DESC, grade DESC, partial DESC
        ) AS nth
    FROM kinewax.wiki_rows
    WHERE domain = 'wiki' AND aggregate = 'unusual_editing'
) AS told
WHERE nth = 1;

CREATE OR REPLACE VIEW kinewax.ecommerce_events AS
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
    delivered_on
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
        delivered_on
    FROM kinewax.ecommerce_raw AS stored
) AS told
WHERE event_at IS NOT NULL AND user_id IS NOT NULL AND event_type IS NOT NULL AND price IS NOT NULL;

CREATE OR REPLACE VIEW kinewax.clickstream_events AS
SELECT
    customer_id,
    COALESCE(ip_address, '') AS ip_address,
    COALESCE(country_code, '') AS country_code,
    COALESCE(gender, '') AS gender,
    COALESCE(traffic_origin, '') AS traffic_origin,
    event_type,
    COALESCE(product, '') AS product,
    amount,
    delivered_on
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
        delivered_on
    FROM kinewax.clickstream_raw AS stored
) AS told
WHERE customer_id IS NOT NULL AND event_type IS NOT NULL;
