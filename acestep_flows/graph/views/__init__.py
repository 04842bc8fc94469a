"""Graphs for readers: text for a terminal, a drawing as SVG or PNG, and a JSON schema of the inputs.

Views only read a checked graph, and nothing that runs a graph may need them.
Begin with `describe.py`.
"""
