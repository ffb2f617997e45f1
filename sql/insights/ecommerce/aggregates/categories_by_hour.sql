-- 4. What is looked for, hour by hour
-- The five categories with the most events in each hour of the day (UTC).
-- reads: ecommerce_categories_hourly
-- chart: bars label=category value=events by=hour_of_day
WITH counted AS (
    SELECT
        CAST(EXTRACT(HOUR FROM window_start) AS INTEGER) AS hour_of_day,
        category_code AS category,
        SUM(events) AS events
    FROM ecommerce_categories_hourly
    GROUP BY CAST(EXTRACT(HOUR FROM window_start) AS INTEGER), category_code
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
