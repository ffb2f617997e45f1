-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- Takes out rows that later ones have superseded; the views are right without it.

WITH newest AS (
    SELECT row_id, MAX(emitted_at) AS emitted_at
    FROM kinewax.ecommerce_rows
    WHERE OCTET_LENGTH(row_id) <= 1276
    GROUP BY row_id
    HAVING COUNT(*) > 1
)
DELETE FROM kinewax.ecommerce_rows
USING newest
WHERE ecommerce_rows.row_id = newest.row_id
    AND ecommerce_rows.emitted_at < newest.emitted_at;

WITH newest AS (
    SELECT row_id, MAX(emitted_at) AS emitted_at
    FROM kinewax.access_logs_rows
    WHERE OCTET_LENGTH(row_id) <= 8444
    GROUP BY row_id
    HAVING COUNT(*) > 1
)
DELETE FROM kinewax.access_logs_rows
USING newest
WHERE access_logs_rows.row_id = newest.row_id
    AND access_logs_rows.emitted_at < newest.emitted_at;

WITH newest AS (
    SELECT row_id, MAX(emitted_at) AS emitted_at
    FROM kinewax.clickstream_rows
    WHERE OCTET_LENGTH(row_id) <= 764
    GROUP BY row_id
    HAVING COUNT(*) > 1
)
DELETE FROM kinewax.clickstream_rows
USING newest
WHERE clickstream_rows.row_id = newest.row_id
    AND clickstream_rows.emitted_at < newest.emitted_at;

WITH newest AS (
    SELECT row_id, MAX(emitted_at) AS emitted_at
    FROM kinewax.wiki_rows
    WHERE OCTET_LENGTH(row_id) <= 1276
    GROUP BY row_id
    HAVING COUNT(*) > 1
)
DELETE FROM kinewax.wiki_rows
USING newest
WHERE wiki_rows.row_id = newest.row_id
    AND wiki_rows.emitted_at < newest.emitted_at;
