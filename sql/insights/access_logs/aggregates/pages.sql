-- 2. What is asked for
-- The paths that were among the top ones of a minute, by their requests there.
-- reads: access_logs_pages_60s
-- chart: bars label=path value=requests
SELECT
    path,
    SUM(requests) AS requests,
    SUM(bytes) AS bytes
FROM access_logs_pages_60s
GROUP BY path
ORDER BY requests DESC, path
LIMIT 20
