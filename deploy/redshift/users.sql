-- Written by `make docs` from dataflows/ and service/warehouse/: change those instead.
-- Two users, to be created once: one loads, the other reads.

CREATE USER firehose_loader PASSWORD DISABLE;

CREATE USER insights_reader PASSWORD DISABLE;

ALTER USER insights_reader SET search_path TO kinewax;
