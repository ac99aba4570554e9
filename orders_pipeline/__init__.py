"""orders_pipeline: keeps a merchant's own fulfillment in step with Amazon. Start at definitions.py."""
