-- 3. What is bought
-- Checkouts by product; of some it isn't known which one.
-- reads: clickstream_products_60s
-- chart: bars label=product value=purchases
SELECT
    CASE WHEN product = '' THEN '(unknown)' ELSE product END AS product,
    SUM(checkouts) AS purchases,
    SUM(amount) AS amount
FROM clickstream_products_60s
GROUP BY 1
HAVING SUM(checkouts) > 0
ORDER BY purchases DESC, 1
