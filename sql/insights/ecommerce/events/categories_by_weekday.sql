-- 5. What is looked for, by weekday
-- The five categories with the most events in each weekday (0 is Sunday, UTC).
-- reads: ecommerce_events
-- chart: bars label=category value=events by=weekday
WITH counted AS (
    SELECT
        weekday,
        category_code AS category,
        COUNT(*) AS events
    FROM ecommerce_events
    WHERE category_code <> ''
    GROUP BY weekday, category_code
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
