-- 3. What is bought
-- Checkouts by product.
-- reads: clickstream_events
-- chart: bars label=product value=purchases
SELECT
    product,
    COUNT(*) AS purchases,
    SUM(amount) AS amount
FROM clickstream_events
WHERE event_type = 'checkout'
GROUP BY product
ORDER BY purchases DESC, product
