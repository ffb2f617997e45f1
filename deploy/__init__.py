"""Files for where kinewax runs and where its rows are queried, and what writes some of them."""
