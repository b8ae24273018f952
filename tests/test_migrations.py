"""Migrations: sites with millions of deliveries apply them while they receive.

`tests.migration_lint` judges each one after the first, `proof.upgrades` measures them on a large
table, here in short.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import dj_database_url
import pytest
from django.apps import apps
from django.db import NotSupportedError, connection, connections, migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.models.functions import Now, Random
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from proof import upgrades
from proof.rehearsal.operations import AddIndexOnline, RemoveIndexOnline

from . import migration_lint
from .conftest import new_database
from .migration_lint import (
    APP,
    RELEASED,
    changed,
    findings,
    first_released,
    last_released,
    names,
)
from .postgresql import PrivatePostgreSQL

TABLE = "perfsee_webhooks_delivery"
MAX_NAME_LENGTH = 30


@contextmanager
def opened(url: str) -> Iterator[BaseDatabaseWrapper]:
    """Connect to a database that is none of the settings'."""
    alias = f"elsewhere_{len(connections.settings)}"
    connections.settings[alias] = {**connection.settings_dict, **dj_database_url.parse(url)}
    try:
        with closing(connections[alias]) as database:
            yield database
    finally:
        del connections[alias], connections.settings[alias]


@pytest.fixture
def elsewhere(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    """An empty database of the kind that the run is on."""
    with django_db_blocker.unblock(), new_database(tmp_path) as url, opened(url) as database:
        yield database


def plan() -> list[Migration]:
    """Return the app's migrations in their order."""
    graph = MigrationLoader(None).graph
    return [graph.nodes[key] for key in graph.forwards_plan((APP, names()[-1])) if key[0] == APP]


def apply(migration: Migration, database: BaseDatabaseWrapper, *, backwards: bool = False) -> None:
    """Apply a migration, or take it back, without keeping a record of it."""
    before = MigrationLoader(None).project_state((APP, migration.name), at_end=False)
    with database.schema_editor(atomic=migration.atomic) as editor:
        (migration.unapply if backwards else migration.apply)(before, editor)


def apply_planted(
    operation: Any, database: BaseDatabaseWrapper, *, atomic: bool = False, backwards: bool = False
) -> None:
    migration = planted(operation, atomic=atomic)
    before = MigrationLoader(None).project_state(migration.dependencies[0])
    with database.schema_editor(atomic=atomic) as editor:
        (migration.unapply if backwards else migration.apply)(before, editor)


def indexes(database: BaseDatabaseWrapper) -> set[str]:
    with database.cursor() as cursor:
        return set(database.introspection.get_constraints(cursor, TABLE))


class Migrated(NamedTuple):
    database: BaseDatabaseWrapper
    found: list[str]


@pytest.fixture(scope="module")
def postgresql(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """A database on PostgreSQL, whichever the run is on, without tables."""
    if connection.vendor == "postgresql":
        with new_database(tmp_path_factory.mktemp("migrations")) as url:
            yield url
        return
    server = PrivatePostgreSQL.start()
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def migrated(postgresql: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Migrated]:
    """A PostgreSQL with the tables of the last migration, and what was found on the way."""
    with django_db_blocker.unblock(), opened(postgresql) as database:
        found = []
        for migration in plan():
            if migration.name != names()[0]:
                found += findings(migration, database)
            apply(migration, database)
        yield Migrated(database, found)


def planted(*operations: Any, atomic: bool = True) -> Migration:
    """Return a migration that a release would bring next."""
    attributes = {
        "dependencies": [(APP, names()[-1])],
        "operations": list(operations),
        "atomic": atomic,
    }
    planted_class: type[Migration] = type("Planted", (Migration,), attributes)
    return planted_class("0999_planted", APP)


def leave_alone(apps: Any, schema_editor: Any) -> None:
    """Do what a RunPython does: here nothing."""


INDEX = models.Index(fields=["event_type"], name="planted")
UPDATE = f'UPDATE "{TABLE}" SET attempts = 0'  # noqa: S608  # no value is in it
DROP_COLUMN = f'ALTER TABLE "{TABLE}" DROP COLUMN "repeats"'

BAD = {
    "an index that is not built concurrently": (
        planted(migrations.AddIndex("delivery", INDEX)),
        "concurrently in proof/rehearsal/operations.py",
    ),
    "an index that a field has": (
        planted(migrations.AddField("delivery", "x", models.TextField(null=True, db_index=True))),
        "concurrently in proof/rehearsal/operations.py",
    ),
    "an index that is removed while all wait": (
        planted(migrations.RemoveIndex("delivery", "perfsee_delivery_newest")),
        "removes it concurrently",
    ),
    "a concurrent index beside something else": (
        planted(
            AddIndexOnline("delivery", INDEX),
            migrations.AddField("delivery", "x", models.IntegerField(null=True)),
            atomic=False,
        ),
        "holds one operation only",
    ),
    "a column whose default Django takes away again": (
        planted(migrations.AddField("delivery", "x", models.IntegerField(default=5))),
        "null=True or a db_default",
    ),
    "a column with another default for each row": (
        planted(migrations.AddField("delivery", "x", models.FloatField(db_default=Random()))),
        "one value for all rows",
    ),
    "a generated column": (
        planted(
            migrations.AddField(
                "delivery",
                "x",
                models.GeneratedField(
                    expression=models.F("attempts") + 1,
                    output_field=models.IntegerField(),
                    db_persist=True,
                ),
            )
        ),
        "one value for all rows",
    ),
    "another type": (
        planted(migrations.AlterField("delivery", "attempts", models.BigIntegerField())),
        "a new column beside it",
    ),
    "a column that may no longer be empty": (
        planted(migrations.AlterField("delivery", "settled_at", models.DateTimeField())),
        "null=True or a db_default",
    ),
    "a column that gets a value in all rows at once": (
        planted(
            migrations.AlterField(
                "delivery", "settled_at", models.DateTimeField(default=timezone.now)
            )
        ),
        "in batches",
    ),
    "a check of all rows": (
        planted(
            migrations.AddConstraint(
                "delivery",
                models.CheckConstraint(condition=models.Q(attempts__gte=0), name="planted"),
            )
        ),
        "NOT VALID",
    ),
    "a check of all rows right after it was added": (
        planted(
            migrations.RunSQL(
                [
                    f'ALTER TABLE "{TABLE}" ADD CONSTRAINT p CHECK (attempts > 0) NOT VALID',
                    f'ALTER TABLE "{TABLE}" VALIDATE CONSTRAINT p',
                ],
                migrations.RunSQL.noop,
            )
        ),
        "in a migration of its own",
    ),
    "a unique constraint": (
        planted(
            migrations.AddConstraint(
                "delivery", models.UniqueConstraint(fields=["body_sha256"], name="planted")
            )
        ),
        "by USING INDEX",
    ),
    "a reference that all rows are checked for": (
        planted(
            migrations.AlterField(
                "delivery",
                "attempts",
                models.ForeignKey("perfsee_webhooks.Replay", models.PROTECT, db_index=False),
            )
        ),
        "NOT VALID",
    ),
    "a column with another name": (
        planted(migrations.RenameField("delivery", "attempts", "tries")),
        "db_column",
    ),
    "a table with another name": (
        planted(migrations.RenameModel("Delivery", "Webhook")),
        "db_table",
    ),
    "a column that the release before asks for": (
        planted(migrations.RemoveField("delivery", "repeats")),
        "two releases later",
    ),
    "a column that goes by SQL": (
        planted(migrations.RunSQL(DROP_COLUMN, migrations.RunSQL.noop)),
        "two releases later",
    ),
    "a table that the release before asks for": (
        planted(migrations.DeleteModel("Heartbeat")),
        "two releases later",
    ),
    "all rows in one transaction, by Python": (
        planted(migrations.RunPython(leave_alone, leave_alone)),
        "in batches",
    ),
    "all rows in one transaction, by SQL": (
        planted(migrations.RunSQL(UPDATE, migrations.RunSQL.noop)),
        "in batches",
    ),
    "Python that cannot be taken back": (
        planted(migrations.RunPython(leave_alone), atomic=False),
        "Give it reverse_code",
    ),
    "SQL that cannot be taken back": (
        planted(migrations.RunSQL(f"ANALYZE {TABLE}")),
        "or reverse_sql",
    ),
    "SQL that is none": (
        planted(migrations.RunSQL("ALTER TABEL x", migrations.RunSQL.noop)),
        "SQL that PostgreSQL understands",
    ),
    "what is hidden beside a change of the state": (
        planted(
            migrations.SeparateDatabaseAndState(
                [migrations.AddIndex("delivery", INDEX), migrations.RunPython(leave_alone)]
            )
        ),
        "Give it reverse_code",
    ),
}

GOOD = {
    "an index built concurrently": planted(AddIndexOnline("delivery", INDEX), atomic=False),
    "an index removed concurrently": planted(
        RemoveIndexOnline("delivery", "perfsee_delivery_newest"), atomic=False
    ),
    "a column that may be empty": planted(
        migrations.AddField("delivery", "x", models.DateTimeField(null=True))
    ),
    "a column that the database fills in": planted(
        migrations.AddField("delivery", "x", models.CharField(max_length=9, db_default="new"))
    ),
    "a column that gets the moment of the migration": planted(
        migrations.AddField("delivery", "x", models.DateTimeField(db_default=Now()))
    ),
    "a reference that is empty in all rows": planted(
        migrations.AddField(
            "delivery",
            "x",
            models.ForeignKey("Replay", models.PROTECT, null=True, db_index=False),
        )
    ),
    "other choices, another label": planted(
        migrations.AlterField(
            "delivery",
            "state",
            models.CharField(
                max_length=10,
                choices=[("new", "New")],
                default="received",
                db_default="received",
            ),
        )
    ),
    "a check of new rows": planted(
        migrations.RunSQL(
            f'ALTER TABLE "{TABLE}" ADD CONSTRAINT p CHECK (attempts >= 0) NOT VALID',
            f'ALTER TABLE "{TABLE}" DROP CONSTRAINT p',
        )
    ),
    "its validation": planted(
        migrations.RunSQL(f'ALTER TABLE "{TABLE}" VALIDATE CONSTRAINT p', migrations.RunSQL.noop)
    ),
    "a table of its own, with all that it needs": planted(
        migrations.CreateModel(
            "Planted",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("delivery", models.ForeignKey("Delivery", models.CASCADE)),
                ("name", models.CharField(max_length=9, unique=True)),
            ],
        ),
        migrations.AddIndex("planted", models.Index(fields=["name"], name="planted")),
    ),
    "rows in batches, each with a transaction of its own": planted(
        migrations.RunPython(leave_alone, leave_alone), atomic=False
    ),
    "a column that no release asks for any more": planted(
        migrations.RunSQL(DROP_COLUMN.replace("repeats", "unused"), migrations.RunSQL.noop)
    ),
}


@pytest.mark.once
def test_findings__of_the_migrations_are_none(migrated):
    assert migrated.found == []


@pytest.mark.once
@pytest.mark.parametrize("what", BAD)
def test_findings__say_what_to_do_instead(what, migrated):
    migration, instead = BAD[what]
    found = findings(migration, migrated.database)
    print(*found, sep="\n")
    assert any(instead in one for one in found), found
    assert all(one.startswith("0999_planted: ") for one in found)


@pytest.mark.once
@pytest.mark.parametrize("what", GOOD)
def test_findings__leave_alone_what_locks_nobody_out(what, migrated):
    assert findings(GOOD[what], migrated.database) == []


def test_released__never_change():
    assert changed(RELEASED) == []


def test_changed__names_what_is_not_as_it_was_released():
    file = migration_lint.FOLDER / f"{names()[0]}.py"
    as_it_is = hashlib.sha256(file.read_bytes()).hexdigest()
    assert changed({names()[0]: as_it_is}) == []
    assert changed({names()[0]: "0" * 64}) == [names()[0]]
    assert changed({"0099_gone": as_it_is}) == ["0099_gone"]


def test_last_released__is_the_first_migration_until_there_is_one():
    assert (first_released({}), last_released({})) == (names()[0], names()[0])
    released = {"0002_second": "", "0003_third": "", "0001_first": ""}
    assert (first_released(released), last_released(released)) == ("0001_first", "0003_third")


def test_migrations__are_one_until_the_first_release():
    assert len(names()) == 1 or RELEASED, "Write 0001 anew: nobody has it yet."


def test_migrations__follow_each_other():
    for before, migration in pairwise(plan()):
        assert (APP, before.name) in migration.dependencies
    assert [migration.name for migration in plan()] == names()


def test_migrations__can_be_taken_back(elsewhere):
    for migration in plan():
        apply(migration, elsewhere)
    assert TABLE in elsewhere.introspection.table_names()
    for migration in reversed(plan()):
        apply(migration, elsewhere, backwards=True)
    assert elsewhere.introspection.table_names() == []
    for migration in plan():
        apply(migration, elsewhere)
    assert TABLE in elsewhere.introspection.table_names()


def named() -> list[Any]:
    return [
        pytest.param(model, one, id=one.name)
        for model in apps.get_app_config(APP).get_models()
        for one in [*model._meta.indexes, *model._meta.constraints]
    ]


@pytest.mark.parametrize(("model", "one"), named())
def test_names__say_the_table_and_the_rule(model, one):
    words = re.findall("[A-Z][a-z]+", model.__name__)
    assert re.fullmatch(f"perfsee_{words[-1].lower()}(_[a-z]+)+", one.name)
    assert len(one.name) <= MAX_NAME_LENGTH
    if isinstance(one, models.UniqueConstraint):
        assert one.name.endswith("_unique")


@pytest.mark.once
@pytest.mark.parametrize("name", [*upgrades.ALLOWED, *upgrades.FORBIDDEN])
def test_findings__agree_with_what_is_measured(name, migrated, settings):
    settings.MIGRATION_MODULES = {APP: "proof.rehearsal.migrations"}
    rehearsed = MigrationLoader(None).graph.nodes[APP, name]
    assert bool(findings(rehearsed, migrated.database)) == (name in upgrades.FORBIDDEN)


@pytest.mark.once
def test_upgrades__keep_nobody_waiting_and_lose_nothing():
    rows = upgrades.run(10_000)
    print(*rows, sep="\n")
    assert all(row.holds for row in rows)
    assert rows[0].tried > 0


def test_upgrades__what_takes_long_or_rewrites_is_wrong():
    quick = upgrades.Step(
        name="0002_quick", seconds=1, rewritten=set(), waited_seconds=0.9, longest_answer_seconds=1
    )
    assert quick.wrong == 0
    assert replace(quick, waited_seconds=1.1).wrong == 1
    assert replace(quick, rewritten={TABLE}).wrong == 1
    assert "rewrote perfsee_webhooks_delivery" in str(replace(quick, rewritten={TABLE}))


@pytest.mark.once
def test_online_operations__can_be_run_again_and_taken_back(migrated):
    database = migrated.database
    for _ in range(2):
        apply_planted(AddIndexOnline("delivery", INDEX), database)
    assert "planted" in indexes(database)
    apply_planted(AddIndexOnline("delivery", INDEX), database, backwards=True)
    assert "planted" not in indexes(database)
    removal = RemoveIndexOnline("delivery", "perfsee_delivery_newest")
    apply_planted(removal, database)
    assert "perfsee_delivery_newest" not in indexes(database)
    apply_planted(removal, database, backwards=True)
    assert "perfsee_delivery_newest" in indexes(database)


@pytest.mark.once
def test_online_operations__want_no_transaction(migrated):
    with pytest.raises(NotSupportedError, match="atomic = False"):
        apply_planted(AddIndexOnline("delivery", INDEX), migrated.database, atomic=True)


def test_online_operations__work_on_each_database(elsewhere):
    for migration in plan():
        apply(migration, elsewhere)
    apply_planted(AddIndexOnline("delivery", INDEX), elsewhere)
    assert "planted" in indexes(elsewhere)
    apply_planted(AddIndexOnline("delivery", INDEX), elsewhere, backwards=True)
    assert "planted" not in indexes(elsewhere)
