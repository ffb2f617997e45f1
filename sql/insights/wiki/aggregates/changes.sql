-- 1. What changes
-- Changes of each minute, and those by declared bots.
-- reads: wiki_changes_60s
-- chart: line x=minute y=changes,bot_changes
SELECT
    window_start AS minute,
    SUM(changes) AS changes,
    SUM(bot_changes) AS bot_changes,
    SUM(bytes_changed) AS bytes_changed
FROM wiki_changes_60s
WHERE window_start > (SELECT MAX(window_start) FROM wiki_changes_60s) - INTERVAL '1' DAY
GROUP BY window_start
ORDER BY minute
