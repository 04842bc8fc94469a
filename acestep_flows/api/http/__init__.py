"""The HTTP interface: an ASGI application with routes, schemas, API keys, limits, errors and metrics.

This package must never know SQL or compute a stage; it validates requests and calls the store through `Service`.
Begin with `app.create_app`, then `routes`, `request_schemas` and `response_schemas`.
"""
