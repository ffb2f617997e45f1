"""Archives: what Firehose and others left in S3 or in a directory, read again as a finite stream.

layouts.py       what a key says about time, and URLs with Firehose's own prefix expressions
listing.py       which objects, in which order, in which lane: decided once, written down
stores.py        S3 and directories: listing, and bytes that survive a broken connection
fetch.py         reads ahead of a lane, on a thread, within a bound
compression.py   gzip, zip, zstd
formats.py       JSON lines, JSON objects, CSV, Parquet, lines of text
aggregates.py    KPL aggregates amid the bytes of an object
board.py         how far all lanes of all processes are
slot.py          a lane: from objects to blocks, and its position
source.py        all lanes
"""
