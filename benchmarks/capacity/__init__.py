"""How many GPUs one run table, one store and so many servers can feed, and what ends first.

    python -m benchmarks.capacity [--gpus 8 64 512] [--card H200] [--measured gpu.json] [--mix mix.json]
    python -m benchmarks.capacity --check

A simulation of machines with eight GPUs each. Every machine has a server and a pool (`gpu-pool`); all share one run
table and one artifact store. Runs arrive at random. Each is laid out by the product's own planner, so the simulation
makes the calls that a real run makes, in the same order. What a call costs is in `costs`; where it waits is in
`machine`; `--check` measures the costs of a real server on this machine, and compares its songs per second and its
latencies under load with the simulation's.
"""
