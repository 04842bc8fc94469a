"""What is written down about a run: the recipe that goes with every output, and a replay that compares with it.

A recipe holds the whole content of its graph, and must never depend on a graph file that may change.
Begin with `recipe.py`; `graph_content.py` stores graphs and reads them again, `replay.py` compares two runs.
"""
