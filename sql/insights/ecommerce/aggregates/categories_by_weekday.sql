-- 5. What is looked for, by weekday
-- The five categories with the most events in each weekday (0 is Sunday, UTC).
-- reads: ecommerce_categories_hourly
-- chart: bars label=category value=events by=weekday
WITH counted AS (
    SELECT
        MOD(CAST(EXTRACT(DOW FROM window_start) AS INTEGER), 7) AS weekday,
        category_code AS category,
        SUM(events) AS events
    FROM ecommerce_categories_hourly
    GROUP BY MOD(CAST(EXTRACT(DOW FROM window_start) AS INTEGER), 7), category_code
),

placed AS (
    SELECT
        weekday,
        category,
        events,
        ROW_NUMBER() OVER (PARTITION BY weekday ORDER BY events DESC, category) AS place
    FROM counted
)

SELECT
    weekday,
    place,
    category,
    events
FROM placed
WHERE place <= 5
ORDER BY weekday, place
