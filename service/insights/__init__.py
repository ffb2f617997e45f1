"""`kinewax insights`: questions of sql/insights/ asked of an archive, as tables and a report."""
