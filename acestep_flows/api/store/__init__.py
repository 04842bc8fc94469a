"""The durable state of a server: the run table in a database, and the files that runs read and write.

This package must never know HTTP, the executor's event loop or how a stage computes; it stores and returns records.
Begin with `home.Home`, which opens all parts, then `records` (what is stored) and `leases` (how executors share runs).
"""
