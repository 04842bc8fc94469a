"""How noise becomes a song: schedules, guidance, solvers, noise, and one trajectory per task (spec 02).

A trajectory knows one song and no network; the network knows no task. `loop.denoise` joins them.
"""
