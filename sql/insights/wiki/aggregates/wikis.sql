-- 2. Where it changes
-- Changes by wiki, and how many of them bots made.
-- reads: wiki_changes_60s
-- chart: bars label=wiki value=bot_changes of=changes
SELECT
    wiki,
    SUM(changes) AS changes,
    SUM(bot_changes) AS bot_changes,
    SUM(bytes_changed) AS bytes_changed
FROM wiki_changes_60s
GROUP BY wiki
ORDER BY changes DESC, wiki
