"""Graph files as objects: YAML with positions, declared inputs and their types, nodes, references, wording of errors.

It knows the form of a graph and the ports of stages, and must never ask whether a graph makes sense: `checking` does.
Begin with `syntax.py`, the objects; `parse.py` makes them from a `document.py`.
"""
