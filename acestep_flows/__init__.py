"""Distributed workflows for ACE-Step v1: text to music, and every edit of it, as graphs of stages."""

__version__ = "0.1.0"
