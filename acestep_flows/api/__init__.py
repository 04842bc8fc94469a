"""The served door: the HTTP ingress, the store behind it, and the executor that runs what was accepted."""
