"""The studio: a page on the server where people make and edit songs. It asks the server's `/v1` only.

`page.py` serves the files of `static/`. They are built by `make studio` from the sources in `studio/` at the root of
the repository.
"""
