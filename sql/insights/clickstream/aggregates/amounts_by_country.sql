-- 5. Where is bought
-- What checkouts of each country brought.
-- reads: clickstream_countries_60s
-- chart: bars label=country_code value=amount
SELECT
    country_code,
    SUM(amount) AS amount,
    SUM(checkouts) AS checkouts,
    SUM(events) AS events
FROM clickstream_countries_60s
GROUP BY country_code
ORDER BY amount DESC, country_code
