"""READ: bytes and positions from streams and files; nothing about domains."""
