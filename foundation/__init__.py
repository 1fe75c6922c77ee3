"""What every room stands on: errors, checks, canonical bytes, keys, files, the database engine."""
