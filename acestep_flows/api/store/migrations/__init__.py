"""Steps from one version of the tables to the next, applied when a database is opened."""
