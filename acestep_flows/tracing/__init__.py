"""Traces over processes: OpenTelemetry's provider of a process, and trace contexts (W3C) that travel between them.

This package must never know runs or stages. Without OpenTelemetry, and without a provider, it does nothing.
"""
