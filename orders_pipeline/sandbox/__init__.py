"""A local Amazon, a real SQS protocol server and a warehouse, for the demo and the tests.

Never here: an import from the rest of `orders_pipeline`. A double that shares code with what it doubles proves
nothing.

Start: `python -m orders_pipeline.sandbox`, or `orders_pipeline.sandbox.sandbox.Sandbox` inside a test.
"""
