"""How noise becomes a song (spec 02): schedules, guidance, solvers, noise, and one trajectory for each task.

A `Trajectory` describes one song and knows no network. A `Denoiser` answers its queries and knows no task. This package
must never know stages, graphs, files, or where it runs.

Begin with `loop.py`: `denoise` takes one song to its end, `denoise_all` many. `trajectory.py` says what a trajectory
is, and `text2music.py` is the plainest one.
"""
