"""Boards for Grafana, made of what `boards.py` declares."""
