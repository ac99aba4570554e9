"""Who acts in a run: the person who started it by hand, where the guard of the UI knows one, else the run itself."""

from __future__ import annotations

import dagster as dg

from orders_pipeline.audit.log import PERSON_TAG, is_person, person_actor


def actor_of(context: dg.OpExecutionContext | dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> str:
    """`person:<name>/run:<id>` for a person's run, `run:<id>` for any other."""
    run = context.run
    name = run.tags.get(PERSON_TAG, "")
    return person_actor(name, run.run_id) if is_person(name) else f"run:{run.run_id}"
