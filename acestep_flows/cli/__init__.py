"""The command line: options become calls of the session, the server, the client, bulk jobs and training.

Each module holds the commands of one subject, and imports what does the work inside them, so that start-up needs no
torch and no Ray. Nothing else imports it. Begin with `main.py`; `terminal.py` says how commands end.
"""
