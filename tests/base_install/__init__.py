"""This package as `pip install .` leaves it: every module that only an extra or the tests bring is missing."""
