"""Plans of many rows over Ray Data: a pool of actors for each leg of the way. Ray is imported in here alone."""
