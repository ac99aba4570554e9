"""Which database the settings name, and a connection to it."""

from __future__ import annotations

from sqlalchemy.engine import make_url

from orders_pipeline.database.embedded import EmbeddedPostgresError, find_embedded
from orders_pipeline.settings import Settings

ORDERS_DATABASE = "orders"
DAGSTER_DATABASE = "dagster"


def orders_database_url(settings: Settings) -> str:
    """SQLAlchemy URL of the orders' database. Raises EmbeddedPostgresError when the embedded server is not running."""
    settings.require_usable()
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return _embedded_url(settings, ORDERS_DATABASE)


def dagster_database_url(settings: Settings) -> str:
    """SQLAlchemy URL of Dagster's storage: DAGSTER_POSTGRES_URL, or a database `dagster` in the orders' server."""
    settings.require_usable()
    if settings.dagster_postgres_url is not None:
        return settings.dagster_postgres_url.get_secret_value()
    if settings.database_url is not None:
        return beside(settings.database_url.get_secret_value())
    return _embedded_url(settings, DAGSTER_DATABASE)


def beside(orders_url: str) -> str:
    """The URL of Dagster's database in the server of another database."""
    return make_url(orders_url).set(database=DAGSTER_DATABASE).render_as_string(hide_password=False)


def _embedded_url(settings: Settings, database: str) -> str:
    running = find_embedded(settings.data_dir)
    if running is None:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL of {settings.data_dir} is not running: run `orders-pipeline up`, or set "
            "ORDERS_DATABASE_URL (and DAGSTER_POSTGRES_URL) to a server of your own."
        )
    return running.url(database)
