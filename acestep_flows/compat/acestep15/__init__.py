"""The REST interface of ACE-Step 1.5, at `serve --speak acestep15`: its tasks are runs, its files our assets."""
