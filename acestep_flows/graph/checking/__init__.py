"""Whether a graph makes sense: what its names mean (`Scope`) and the rules that find every problem at once.

It needs no weights, no torch and no values, and must never know how a plan is run.
Begin with `check.py`; `scope.py` answers the questions that the rules ask.
"""
