"""Kills whoever carries a replay out: each delivery is opened once, and each effect there once."""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter

import pytest
from django.db import connection

from .sites import Site, running_environment
from .test_kills import EFFECTS, RECEIVERS, Chaos, Victim, lines_of, running, seed, settle

__all__ = ["seed"]

pytestmark = pytest.mark.kill

DELIVERIES = 300
POLLS = 120

STORE = f"""
from django.utils import timezone
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.replay import Order, Selection, start
from perfsee_webhooks.samples import sample_body
Delivery.objects.bulk_create(
    Delivery(
        delivery_id=f"delivery-{{number:03}}",
        event_type="bundle:finished",
        body=sample_body("bundle:finished"),
        received_at=timezone.now(),
        state="dead",
    )
    for number in range({DELIVERIES})
)
start(Selection(states=("dead",)), Order(batch_size=15), requested_by="somebody")
"""


def test_replay__survives_whoever_carries_it_out(site_database_url, seed, capsys):
    # Either on either database does, and takes a minute: each way has its turn.
    processing = "tasks" if connection.vendor == "postgresql" else "inline"
    chance = random.Random(seed)
    environment = running_environment(
        site_database_url,
        {"DJANGO_SETTINGS_MODULE": "tests.kill_app.settings", "PERFSEE_PROCESSING": processing},
    )
    site = Site(environment=environment)
    site.manage("migrate", "--run-syncdb", "-v0")
    site.manage("shell", "-v0", "-c", STORE)
    jobs = [["perfsee_sweep", "--watch=0.3"], ["perfsee_sweep", "--watch=0.3"]]
    if processing == "tasks":
        jobs[1:] = [["db_worker", "--interval=0.05", "--no-startup-delay"]] * 2
    workers = [
        Victim(command=[sys.executable, "manage.py", *job], environment=environment) for job in jobs
    ]
    chaos = Chaos(chance=chance, harms=[worker.kill_and_restart for worker in workers])
    with running(*workers):
        harm = threading.Thread(target=chaos.run)
        harm.start()
        for _ in range(POLLS):
            if site.query("Replay.objects.get().state") == "finished":
                break
        chaos.done.set()
        harm.join()
        settle(site)

    replay = site.query("Replay.objects.values_list('state', 'selected', 'accepted', 'skipped')[0]")
    states = Counter(lines_of(site, "Delivery.objects.values_list('state', flat=True)"))
    effects = Counter(lines_of(site, f"{EFFECTS}.values_list('receiver', 'delivery_id')"))
    kills = sum(worker.kills for worker in workers)
    with capsys.disabled():
        print(f"\n  seed: {seed}, {connection.vendor}, {processing}: {kills} kills, {replay}")
        print(f"  effects: {effects.total()}, twice: {sum(n > 1 for n in effects.values())}")
    assert kills > 2
    assert replay == str(("finished", DELIVERIES, DELIVERIES, 0))
    assert states == {"succeeded": DELIVERIES}
    names = [f"delivery-{number:03}" for number in range(DELIVERIES)]
    expected = {str((receiver, name)) for name in names for receiver in RECEIVERS}
    assert effects == dict.fromkeys(expected, 1)
