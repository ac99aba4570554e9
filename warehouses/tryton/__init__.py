"""A real Tryton as the warehouse: its server as a process of its own, and people who work in it through its own API.

Tryton is GPL and neither imported nor shipped: it is installed into an environment of its own and spoken to over HTTP.
"""
