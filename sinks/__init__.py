"""WRITE: batched, retried, idempotent; one file a destination."""
