-- 3. How it was answered
-- Requests by status.
-- reads: access_logs_statuses_60s
-- chart: bars label=status value=requests
SELECT
    status,
    SUM(requests) AS requests,
    SUM(bytes) AS bytes
FROM access_logs_statuses_60s
GROUP BY status
ORDER BY requests DESC, status
