-- 7. Movers
-- The brands whose revenue rose and fell most since the day before.
-- reads: ecommerce_brands_daily
-- chart: movers label=brand value=change by=day
WITH daily AS (
    SELECT
        CAST(window_start AS DATE) AS day,
        brand,
        revenue
    FROM ecommerce_brands_daily
    WHERE purchases > 0 AND phase = 'final'
),

sides AS (
    SELECT
        day,
        brand,
        revenue,
        0 * revenue AS day_before
    FROM daily
    UNION ALL
    SELECT
        CAST(day + INTERVAL '1' DAY AS DATE) AS day,
        brand,
        0 * revenue AS revenue,
        revenue AS day_before
    FROM daily
),

moved AS (
    SELECT
        day,
        brand,
        SUM(revenue) AS revenue,
        SUM(day_before) AS day_before,
        SUM(revenue) - SUM(day_before) AS change
    FROM sides
    WHERE
        day IN (SELECT daily.day FROM daily)
        AND day IN (SELECT CAST(daily.day + INTERVAL '1' DAY AS DATE) FROM daily)
    GROUP BY day, brand
),

placed AS (
    SELECT
        day,
        brand,
        revenue,
        day_before,
        change,
        ROW_NUMBER() OVER (PARTITION BY day ORDER BY change DESC, brand) AS from_top,
        ROW_NUMBER() OVER (PARTITION BY day ORDER BY change, brand) AS from_bottom
    FROM moved
    WHERE change <> 0
)

SELECT
    day,
    brand,
    revenue,
    day_before,
    change
FROM placed
WHERE from_top <= 5 OR from_bottom <= 5
ORDER BY day, change DESC, brand
