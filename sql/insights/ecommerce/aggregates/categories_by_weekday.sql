-- 5. What is looked for, by weekday
-- The five categories with the most events in each weekday (0 is Sunday, UTC).
-- reads: ecommerce_trade
-- chart: bars label=category value=events by=weekday
WITH timed AS (
    SELECT
        MOD(CAST(EXTRACT(DOW FROM window_start) AS INTEGER), 7) AS weekday,
        category_code AS category,
        events
    FROM ecommerce_trade
    WHERE category_code <> ''
),

counted AS (
    SELECT
        weekday,
        category,
        SUM(events) AS events
    FROM timed
    GROUP BY weekday, category
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
