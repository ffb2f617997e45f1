-- 3. How it changes
-- Changes by their type.
-- reads: wiki_changes_60s
-- chart: bars label=type value=changes
SELECT
    type,
    SUM(changes) AS changes
FROM wiki_changes_60s
GROUP BY type
ORDER BY changes DESC, type
