-- 1. Visitors each day
-- How many different people came, and what they did.
-- reads: ecommerce_visitors_daily
-- chart: line x=day y=visitors
SELECT
    CAST(window_start AS DATE) AS day,
    visitors,
    events
FROM ecommerce_visitors_daily
ORDER BY day
