"""The routes, one module for each group: graphs, runs, files of runs, renders, assets, health, a
caller's library and account, what is made from files, and the catalog of the model.

Routes must never hold state or know tables; they turn a request into calls of `Service` and a record into a response.
Begin with `runs`, the routes that clients use most.
"""
