-- 4. What is looked for, hour by hour
-- The five categories with the most events in each hour of the day (UTC).
-- reads: ecommerce_trade
-- chart: bars label=category value=events by=hour_of_day
WITH timed AS (
    SELECT
        CAST(EXTRACT(HOUR FROM window_start) AS INTEGER) AS hour_of_day,
        category_code AS category,
        events
    FROM ecommerce_trade
    WHERE category_code <> ''
),

counted AS (
    SELECT
        hour_of_day,
        category,
        SUM(events) AS events
    FROM timed
    GROUP BY hour_of_day, category
),

placed AS (
    SELECT
        hour_of_day,
        category,
        events,
        ROW_NUMBER() OVER (PARTITION BY hour_of_day ORDER BY events DESC, category) AS place
    FROM counted
)

SELECT
    hour_of_day,
    place,
    category,
    events
FROM placed
WHERE place <= 5
ORDER BY hour_of_day, place
