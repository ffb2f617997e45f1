"""WIRE: one small declarative file a domain, and the pipeline they all share."""
