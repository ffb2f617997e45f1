"""COMPUTE: decode, lateness, partial aggregates, watermarks, windows, rules, notices."""
