"""Makes plans: a checked graph and its inputs become a list of stage calls, with every literal checked.

It must never run a stage, read the cache or know a process. Begin at `layout.plan` for how a plan is made, and at
`resolve.call_of` for how a planned node becomes a call.
"""
