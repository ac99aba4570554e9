"""The web port: the Dagster UI behind a guard, in one process."""
