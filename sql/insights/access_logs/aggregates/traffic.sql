-- 1. What the site served
-- Requests of each minute, and those that failed.
-- reads: access_logs_traffic_60s
-- chart: line x=minute y=requests,errors_4xx,errors_5xx
SELECT
    window_start AS minute,
    SUM(requests) AS requests,
    SUM(errors_4xx) AS errors_4xx,
    SUM(errors_5xx) AS errors_5xx,
    SUM(bytes) AS bytes
FROM access_logs_traffic_60s
WHERE window_start > (SELECT MAX(window_start) FROM access_logs_traffic_60s) - INTERVAL '1' DAY
GROUP BY window_start
ORDER BY minute
