-- 4. What is looked for, hour by hour
-- The five categories with the most events in each hour of the day (UTC).
-- reads: ecommerce_events
-- chart: bars label=category value=events by=hour_of_day
WITH counted AS (
    SELECT
        hour_of_day,
        category_code AS category,
        COUNT(*) AS events
    FROM ecommerce_events
    WHERE category_code <> ''
    GROUP BY hour_of_day, category_code
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
