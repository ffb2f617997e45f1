-- 6. Brands that are looked at and not bought
-- Of brands with 30 views or more, the ten with the fewest purchases a view.
-- reads: ecommerce_events
-- chart: bars label=brand value=purchases of=views
WITH counted AS (
    SELECT
        brand,
        SUM(CASE WHEN event_type = 'view' THEN 1 ELSE 0 END) AS views,
        SUM(CASE WHEN event_type = 'cart' THEN 1 ELSE 0 END) AS carts,
        SUM(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS purchases
    FROM ecommerce_events
    WHERE brand <> ''
    GROUP BY brand
)

SELECT
    brand,
    views,
    carts,
    purchases,
    ROUND(CAST(purchases AS DECIMAL(18, 6)) / views, 4) AS purchases_per_view
FROM counted
WHERE views >= 30
ORDER BY CAST(purchases AS DECIMAL(18, 6)) / views, views DESC, brand
LIMIT 10
