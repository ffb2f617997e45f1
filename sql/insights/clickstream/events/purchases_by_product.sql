-- 3. What is bought
-- Checkouts by product; of some it isn't known which one.
-- reads: clickstream_events
-- chart: bars label=product value=purchases
SELECT
    CASE WHEN product = '' THEN '(unknown)' ELSE product END AS product,
    COUNT(*) AS purchases,
    SUM(amount) AS amount
FROM clickstream_events
WHERE event_type = 'checkout'
GROUP BY 1
ORDER BY purchases DESC, 1
