-- 8. Bursts
-- How many events a user makes within 10 s: what the rule against floods looks at.
-- reads: ecommerce_events
-- chart: bars label=actions value=windows
WITH counted AS (
    SELECT
        user_id,
        DATE_TRUNC('minute', event_at) AS minute,
        FLOOR(EXTRACT(SECOND FROM event_at) / 10) AS part,
        COUNT(*) AS actions
    FROM ecommerce_events
    GROUP BY
        user_id,
        DATE_TRUNC('minute', event_at),
        FLOOR(EXTRACT(SECOND FROM event_at) / 10)
)

SELECT
    actions,
    COUNT(*) AS windows
FROM counted
GROUP BY actions
ORDER BY actions
