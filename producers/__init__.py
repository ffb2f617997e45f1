"""FEED: what puts events on a stream: generators and CSV replay."""
