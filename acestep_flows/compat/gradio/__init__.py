"""The interface of v1's Gradio page, at `serve --speak gradio`: its tabs are graphs, its events are runs."""
