#!/bin/sh
# Run once, by PostgreSQL's image, when the database is empty: the pipeline's own login, which is no administrator. It may
# make the three roles of docs/compliance.md, "Roles", and owns both databases.
set -eu
psql --username "${POSTGRES_USER:-postgres}" --dbname postgres --set ON_ERROR_STOP=1 \
  --set password="$(cat "$LOGIN_PASSWORD_FILE")" <<'SQL'
create role orders login createrole password :'password';
create database orders owner orders encoding 'UTF8' template template0;
create database dagster owner orders encoding 'UTF8' template template0;
SQL
