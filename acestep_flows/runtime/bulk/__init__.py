"""Plans of many rows over Ray Data: a pool of actors for each leg of the way through the processes.

It must never know manifests, gates or data sets: it gets orders and a `segment_actor.PipelineWork`. Begin at
`pipeline.pipeline`, then read `segment_actor.LegActor`, which does the work of one leg.
"""
