"""Where stages run: in this process (`local`), in Ray Serve (`serving`) or in Ray Data (`bulk`).

It must never know graph files, HTTP or the job of a bulk run: it gets calls and plans. Begin at `local.LocalRunner`,
the simplest runner, and at `engine.StepEngine`, which denoises many songs together.
"""
