-- 2. The last day's trade
-- What was looked at, put into carts and bought, minute by minute.
-- reads: ecommerce_events
-- chart: line x=minute y=views,carts,purchases
SELECT
    DATE_TRUNC('minute', event_at) AS minute,
    SUM(CASE WHEN event_type = 'view' THEN 1 ELSE 0 END) AS views,
    SUM(CASE WHEN event_type = 'cart' THEN 1 ELSE 0 END) AS carts,
    SUM(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS purchases,
    SUM(CASE WHEN event_type = 'purchase' THEN price ELSE 0 END) AS revenue
FROM ecommerce_events
WHERE event_at > (SELECT MAX(event_at) FROM ecommerce_events) - INTERVAL '1' DAY
GROUP BY DATE_TRUNC('minute', event_at)
ORDER BY minute
