-- 4. From a search to the checkout
-- How many events of each minute were a step on the way; they needn't be the same customers'.
-- reads: clickstream_funnel_60s
-- chart: line x=minute y=searches,views,carts,checkouts
SELECT
    window_start AS minute,
    searches,
    views,
    carts,
    checkouts,
    customers
FROM clickstream_funnel_60s
WHERE window_start > (SELECT MAX(window_start) FROM clickstream_funnel_60s) - INTERVAL '1' DAY
ORDER BY minute
