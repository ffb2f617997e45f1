-- 2. The last day's trade
-- What was looked at, put into carts and bought, minute by minute.
-- reads: ecommerce_trade
-- chart: line x=minute y=views,carts,purchases
SELECT
    window_start AS minute,
    SUM(CASE WHEN event_type = 'view' THEN events ELSE 0 END) AS views,
    SUM(CASE WHEN event_type = 'cart' THEN events ELSE 0 END) AS carts,
    SUM(CASE WHEN event_type = 'purchase' THEN events ELSE 0 END) AS purchases,
    SUM(revenue) AS revenue
FROM ecommerce_trade
WHERE window_start > (SELECT MAX(window_start) FROM ecommerce_trade) - INTERVAL '1' DAY
GROUP BY window_start
ORDER BY minute
