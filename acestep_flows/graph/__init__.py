"""The graph language and what runs a graph: reading, checking, planning, execution, records and views.

A graph wires stages. Nothing here knows Ray, HTTP, weights or where a stage runs: execution talks to a `Runner`.
Begin with `language/syntax.py` (what a graph file says), then `planning/plan.py` and `execution/run.py`.
"""
