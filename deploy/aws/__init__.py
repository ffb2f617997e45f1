"""CloudFormation: what kinewax reads and writes, and who may."""
