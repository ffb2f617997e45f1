-- 3. What is bought
-- Checkouts by product.
-- reads: clickstream_products_60s
-- chart: bars label=product value=purchases
SELECT
    product,
    SUM(checkouts) AS purchases,
    SUM(amount) AS amount
FROM clickstream_products_60s
GROUP BY product
HAVING SUM(checkouts) > 0
ORDER BY purchases DESC, product
