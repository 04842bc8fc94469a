"""Words people type, read as values; and values, types and faults in words that people read."""
