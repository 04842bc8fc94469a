"""Stages as Ray Serve deployments: pools of processes, calls to them, and what happens when one dies.

It must never know HTTP, the run table or graph files.
Begin at `runner.ServeRunner` on the calling side and at `stage_host.StageHost` on the other; `pool` is the pool file.
"""
