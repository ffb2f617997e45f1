-- 1. Clicks
-- How many events there are.
-- reads: clickstream_events
SELECT COUNT(*) AS events
FROM clickstream_events
