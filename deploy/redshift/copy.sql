-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- How a table is loaded; Firehose takes what follows IAM_ROLE as its CopyOptions.

COPY kinewax.ecommerce_rows
FROM 's3://BUCKET/PREFIX/'
IAM_ROLE 'ROLE'
FORMAT AS JSON 'auto ignorecase' TIMEFORMAT 'auto' TRUNCATECOLUMNS ACCEPTINVCHARS MAXERROR 100000 GZIP;

COPY kinewax.access_logs_rows
FROM 's3://BUCKET/PREFIX/'
IAM_ROLE 'ROLE'
FORMAT AS JSON 'auto ignorecase' TIMEFORMAT 'auto' TRUNCATECOLUMNS ACCEPTINVCHARS MAXERROR 100000 GZIP;

COPY kinewax.clickstream_rows
FROM 's3://BUCKET/PREFIX/'
IAM_ROLE 'ROLE'
FORMAT AS JSON 'auto ignorecase' TIMEFORMAT 'auto' TRUNCATECOLUMNS ACCEPTINVCHARS MAXERROR 100000 GZIP;

COPY kinewax.ecommerce_raw
FROM 's3://BUCKET/PREFIX/'
IAM_ROLE 'ROLE'
FORMAT AS JSON 'auto ignorecase' TIMEFORMAT 'auto' TRUNCATECOLUMNS ACCEPTINVCHARS MAXERROR 100000 GZIP;

COPY kinewax.clickstream_raw
FROM 's3://BUCKET/PREFIX/'
IAM_ROLE 'ROLE'
FORMAT AS JSON 'auto ignorecase' TIMEFORMAT 'auto' TRUNCATECOLUMNS ACCEPTINVCHARS MAXERROR 100000 GZIP;
