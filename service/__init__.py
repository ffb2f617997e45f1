"""OPERATE: command line, settings, supervisor, snapshots, admin endpoint, local AWS."""
