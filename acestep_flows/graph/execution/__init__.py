"""Runs plans: the scheduler, the cache of outputs with its two tiers, events and the dry run.

It must never know where a stage runs, how a process may die, or what a stage does: it calls a `runner.Runner`. Begin at
`run.run_plan`, then read `cache.Cache.obtain`.
"""
