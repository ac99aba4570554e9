"""Warehouses to try the pipeline with. Not part of the installed package."""
