-- 1. Visitors each day
-- How many different people came, and what they did.
-- reads: ecommerce_events
-- chart: line x=day y=visitors
SELECT
    day,
    COUNT(DISTINCT user_id) AS visitors,
    COUNT(*) AS events
FROM ecommerce_events
GROUP BY day
ORDER BY day
