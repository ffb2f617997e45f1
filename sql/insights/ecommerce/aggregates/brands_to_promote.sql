-- 6. Brands that are looked at and not bought
-- Of brands with 30 views or more, the ten with the fewest purchases a view.
-- reads: ecommerce_brands_daily
-- chart: bars label=brand value=purchases of=views
WITH counted AS (
    SELECT
        brand,
        SUM(views) AS views,
        SUM(carts) AS carts,
        SUM(purchases) AS purchases
    FROM ecommerce_brands_daily
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
