-- 3. What is bought
-- Checkouts by product.
-- reads: clickstream_events
-- chart: bars label=product value=purchases
SELECT
    product,
    COUNT(*) AS purchases,
    SUM(amount) AS amount
FROM clickstream_events
WHERE event_type = 'checkout' AND product <> ''
GROUP BY product
ORDER BY purchases DESC, product
