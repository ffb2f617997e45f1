"""Tables of a warehouse, derived from the domains: what Redshift, Athena and `insights` query."""
