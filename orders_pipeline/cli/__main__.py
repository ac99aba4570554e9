"""`python -m orders_pipeline.cli`: the same command, where no script is installed."""

from orders_pipeline.cli.main import main

main()
