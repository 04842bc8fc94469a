"""Migrations from one version of the tables to the next. They are applied when a database is opened."""
