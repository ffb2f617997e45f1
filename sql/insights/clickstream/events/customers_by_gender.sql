-- 2. Customers in the US, by gender
-- How many different customers clicked there.
-- reads: clickstream_events
-- chart: bars label=gender value=customers
SELECT
    gender,
    COUNT(DISTINCT customer_id) AS customers,
    COUNT(*) AS events
FROM clickstream_events
WHERE country_code = 'US'
GROUP BY gender
ORDER BY gender
