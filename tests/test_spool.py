from __future__ import annotations

import os
import stat
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DataError, OperationalError, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.exceptions import DeliveryConflict, NotStored
from perfsee_webhooks.models import Delivery, DeliveryQuerySet, Rejection
from perfsee_webhooks.sending import perfsee_headers
from perfsee_webhooks.signals import bundle_finished
from perfsee_webhooks.spool import Drained, Spool, SpoolDamaged, drain
from perfsee_webhooks.sweep import sweep

BODY = b'{"eventType":"bundle:finished","payload":{}}'
# All that a delivery id may be.
IDS = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z._:~=+@-]{0,127}", fullmatch=True)


def envelope(delivery_id: str = "one", body: bytes = BODY, **changes: Any) -> Envelope:
    headers = perfsee_headers(body, None, delivery_id=delivery_id)
    return replace(Envelope.read(body, headers, "SECRETS[0]"), **changes)


@pytest.fixture
def spool(tmp_path, webhook_setting) -> Spool:
    """The spool of the site, in a folder that is not there yet."""
    webhook_setting(SPOOL_DIR=tmp_path / "spool")
    found = Spool.of_site()
    assert found is not None
    return found


def names_in(spool: Spool) -> list[str]:
    return sorted(path.suffix for path in spool.folder.iterdir())


# Keeping


def test_of_site__is_none_without_a_folder():
    assert Spool.of_site() is None


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(delivery_id=IDS, body=st.binary(max_size=200))
def test_keep__what_is_read_is_what_was_kept(spool, delivery_id, body):
    one = envelope(delivery_id, body)
    spool.keep(one)
    (spooled,) = spool.waiting()
    assert spooled.read() == one
    assert spooled.path.parent == spool.folder
    spooled.remove(one)


def test_keep__in_a_file_that_nobody_else_reads(spool):
    spool.keep(envelope())
    (spooled,) = spool.waiting()
    assert stat.S_IMODE(spooled.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    assert names_in(spool) == [".delivery"]


def test_keep__has_no_signature_and_no_secret_in_it(spool):
    one = envelope()
    spool.keep(one)
    assert b"sha256=" not in spool.waiting()[0].path.read_bytes()


def test_keep__the_same_again_changes_nothing(spool):
    first = envelope()
    spool.keep(first)
    spool.keep(replace(first, received_at=timezone.now() + timedelta(seconds=9)))
    (spooled,) = spool.waiting()
    assert spooled.read() == first


def test_keep__another_body_is_a_conflict(spool):
    spool.keep(envelope())
    with pytest.raises(DeliveryConflict):
        spool.keep(envelope(body=b'{"eventType":"x"}'))
    assert spool.waiting()[0].read().body == BODY
    assert names_in(spool) == [".delivery"]


def test_keep__by_many_at_once_keeps_one(spool):
    start = threading.Barrier(8)

    def keep():
        start.wait()
        spool.keep(envelope())

    threads = [threading.Thread(target=keep) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names_in(spool) == [".delivery"]


def test_keep__no_more_files_than_there_may_be(spool):
    small = replace(spool, max_files=2)
    small.keep(envelope("one"))
    small.keep(envelope("two"))
    with pytest.raises(NotStored, match="spool is full"):
        small.keep(envelope("three"))
    assert len(small.waiting()) == 2


def test_keep__no_more_bytes_than_there_may_be(spool):
    small = replace(spool, max_bytes=4000)
    small.keep(envelope("one", b"x" * 2000))
    with pytest.raises(NotStored, match="spool is full"):
        small.keep(envelope("two", b"x" * 2000))
    assert len(small.waiting()) == 1


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_keep__leaves_nothing_where_the_disk_does_not_take_it(spool, monkeypatch, call):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(NotStored, match="nor kept on the disk"):
        spool.keep(envelope())
    assert spool.waiting() == []
    assert names_in(spool) == []


def test_keep__where_the_folder_cannot_be_made(tmp_path, spool):
    (tmp_path / "file").touch()
    with pytest.raises(NotStored, match="nor kept on the disk"):
        replace(spool, folder=tmp_path / "file").keep(envelope())


def test_keep__brings_the_file_and_its_name_to_the_disk(spool, monkeypatch):
    synced = []
    fsync = os.fsync

    def record(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    spool.keep(envelope())
    part, folder = synced
    assert part.suffix == ".part"
    assert folder == spool.folder


def test_waiting__in_the_order_in_which_they_came(spool):
    now = timezone.now()
    for minutes in (3, 1, 2):
        moment = now - timedelta(minutes=minutes)
        spool.keep(envelope(f"before-{minutes}", received_at=moment))
    ids = [spooled.read().delivery_id for spooled in spool.waiting()]
    assert ids == ["before-3", "before-2", "before-1"]


def test_waiting__leaves_out_what_is_half_written(spool):
    spool.folder.mkdir()
    (spool.folder / "0123.part").write_bytes(b'{"headers')
    assert spool.waiting() == []
    assert [path.name for path in spool.parts()] == ["0123.part"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda written: written[:-1],
        lambda written: written + b"x",
        lambda written: written[10:],
        lambda written: b"\x00" * len(written),
        lambda _: b"{}\n" + BODY,
        lambda _: b"[]\n" + BODY,
        lambda written: written.replace(b"X-Perfsee-Delivery", b"X-Perfsee-Deliverx"),
    ],
)
def test_read__tells_of_a_damaged_file(spool, damage):
    spool.keep(envelope())
    (spooled,) = spool.waiting()
    spooled.path.write_bytes(damage(spooled.path.read_bytes()))
    with pytest.raises(SpoolDamaged, match="delivery: it"):
        spooled.read()


# Draining


@pytest.mark.django_db(transaction=True)
def test_drain__stores_it_as_it_came(spool, no_receivers):
    earlier = timezone.now() - timedelta(hours=1)
    spool.keep(envelope("late"))
    spool.keep(envelope("early", received_at=earlier))
    assert drain(spool).stored == 2
    assert names_in(spool) == []
    early, late = Delivery.objects.order_by("pk")
    assert (early.delivery_id, early.received_at) == ("early", earlier)
    assert bytes(late.body) == BODY
    assert late.verified_by == "SECRETS[0]"


@pytest.mark.django_db(transaction=True)
def test_drain__what_is_stored_already_is_stored_once(spool, no_receivers, monkeypatch):
    spool.keep(envelope())
    (spooled,) = spool.waiting()
    written, moment = spooled.path.read_bytes(), spooled.path.stat().st_mtime
    assert drain(spool).stored == 1
    spooled.path.write_bytes(written)
    os.utime(spooled.path, (moment, moment))
    assert drain(spool).stored == 1
    assert Delivery.objects.get().repeats == 0
    assert names_in(spool) == []


@pytest.mark.django_db(transaction=True)
def test_drain__counts_what_has_come_again(spool, post):
    post(BODY, delivery_id="one")
    spool.keep(envelope("one"))
    assert drain(spool).stored == 0
    assert Delivery.objects.get().repeats == 1


@pytest.mark.django_db(transaction=True)
def test_drain__keeps_a_conflict_where_a_person_sees_it(spool, post):
    post(BODY, delivery_id="one")
    spool.keep(envelope("one", b'{"eventType":"another"}'))
    assert drain(spool).stored == 0
    assert names_in(spool) == []
    rejection = Rejection.objects.get()
    assert (rejection.reason, rejection.verified_by) == ("conflict", "SECRETS[0]")
    assert bytes(rejection.body) == b'{"eventType":"another"}'


@pytest.mark.django_db(transaction=True)
def test_drain__refuses_a_body_under_another_id_where_that_is_set(spool, post, webhook_setting):
    webhook_setting(REFUSE_SAME_BODY=True)
    post(BODY, delivery_id="one")
    spool.keep(envelope("two"))
    assert drain(spool).stored == 0
    assert names_in(spool) == []
    assert Rejection.objects.get().reason == "same_body"


@pytest.mark.django_db(transaction=True)
def test_drain__leaves_what_is_damaged_and_goes_on(spool, no_receivers, caplog):
    spool.keep(envelope("damaged"))
    (damaged,) = spool.waiting()
    damaged.path.write_bytes(b"no more")
    spool.keep(envelope("whole"))
    assert drain(spool) == Drained(stored=1, left=1)
    assert [left.path for left in spool.waiting()] == [damaged.path]
    assert damaged.path.name in caplog.text


@pytest.mark.django_db(transaction=True)
def test_drain__leaves_what_the_disk_does_not_give_and_goes_on(spool, no_receivers, caplog):
    spool.keep(envelope("unreadable"))
    (unreadable,) = spool.waiting()
    unreadable.path.unlink()
    unreadable.path.mkdir()
    spool.keep(envelope("whole"))
    assert drain(spool) == Drained(stored=1, left=1)
    assert unreadable.path.name in caplog.text


@pytest.mark.django_db(transaction=True)
def test_drain__keeps_the_file_until_its_request_is_committed(spool, no_receivers):
    spool.keep(envelope())
    with transaction.atomic():
        assert drain(spool).stored == 1
        assert names_in(spool) == [".delivery"]
        transaction.set_rollback(True)
    assert not Delivery.objects.exists()
    assert drain(spool).stored == 1
    assert names_in(spool) == []


@pytest.mark.django_db(transaction=True)
def test_drain__leaves_a_newer_file_of_the_same_name(spool, no_receivers, monkeypatch):
    """Another process stores the first, and its id comes again, before this one removes it."""
    spool.keep(envelope("one"))
    (spooled,) = spool.waiting()
    record = DeliveryQuerySet.record

    def record_and_lag(self, one):
        primary_key = record(self, one)
        monkeypatch.setattr(DeliveryQuerySet, "record", record)
        assert drain(spool).stored == 1
        spool.keep(envelope("one", b'{"eventType":"another"}'))
        return primary_key

    monkeypatch.setattr(DeliveryQuerySet, "record", record_and_lag)
    drain(spool)
    assert [left.path for left in spool.waiting()] == [spooled.path]
    drain(spool)
    assert names_in(spool) == []
    assert Rejection.objects.get().reason == "conflict"


@pytest.mark.django_db(transaction=True)
def test_drain__leaves_all_where_the_database_is_still_away(spool, monkeypatch):
    spool.keep(envelope("one"))
    spool.keep(envelope("two"))

    def away(self, _envelope):
        raise OperationalError("away")

    monkeypatch.setattr(DeliveryQuerySet, "record", away)
    with pytest.raises(OperationalError):
        drain(spool)
    assert len(spool.waiting()) == 2


@pytest.mark.django_db(transaction=True)
def test_drain__leaves_what_the_database_refuses_and_goes_on(spool, monkeypatch, caplog):
    spool.keep(envelope("refused"))
    spool.keep(envelope("taken"))
    record = DeliveryQuerySet.record

    def refuse_one(self, one):
        if one.delivery_id == "refused":
            raise DataError("no")
        return record(self, one)

    monkeypatch.setattr(DeliveryQuerySet, "record", refuse_one)
    assert drain(spool) == Drained(stored=1, left=1)
    assert [left.read().delivery_id for left in spool.waiting()] == ["refused"]
    assert "Delivery refused cannot be stored from the spool." in caplog.text


@pytest.mark.django_db(transaction=True)
def test_sweep__stores_and_processes_what_is_in_the_spool(spool, connect):
    receiver = connect(bundle_finished)
    spool.keep(envelope())
    report = sweep(batch_size=10)
    assert (report.drained, report.endings) == (1, {"succeeded": 1})
    assert receiver.call_args.kwargs["delivery"].delivery_id == "one"
    assert not sweep(batch_size=10)


@pytest.mark.django_db(transaction=True)
def test_sweep__goes_on_where_the_spool_cannot_be_read(
    delivery, connect, tmp_path, webhook_setting, caplog
):
    connect(bundle_finished)
    Delivery.objects.update(handed_over_at=None)
    (tmp_path / "file").touch()
    webhook_setting(SPOOL_DIR=tmp_path / "file")
    report = sweep(batch_size=10)
    assert (report.total, report.troubles) == (1, 1)
    assert "The spool could not be emptied" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_sweep__goes_on_where_the_database_does_not_take_a_file(
    spool, delivery, connect, monkeypatch, caplog
):
    """MySQL closes the connection on a statement that is larger than it takes."""
    connect(bundle_finished)
    Delivery.objects.update(handed_over_at=None)
    spool.keep(envelope("large"))

    def close(self, _envelope):
        raise OperationalError(2006, "MySQL server has gone away")

    monkeypatch.setattr(DeliveryQuerySet, "record", close)
    report = sweep(batch_size=10)
    assert (report.total, report.troubles) == (1, 1)
    assert "The spool could not be emptied" in caplog.text
    with pytest.raises(CommandError, match="The spool or a replay has to be seen to"):
        call_command("perfsee_sweep")


# Receiving


@pytest.fixture
def away(monkeypatch):
    """A database that takes no delivery."""

    def refuse(self, _envelope):
        raise OperationalError("away")

    monkeypatch.setattr(DeliveryQuerySet, "record", refuse)


@pytest.mark.django_db
def test_post__keeps_it_on_the_disk_while_the_database_is_away(spool, away, post, body, caplog):
    caplog.set_level("INFO")
    for _ in range(2):
        assert post(body, delivery_id="one").status_code == 204
    assert post(b"{}", delivery_id="one").status_code == 409
    (spooled,) = spool.waiting()
    assert spooled.read().body == body
    assert "Delivery one is kept on the disk until the database takes it." in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("secret", [None, "wrong"])
def test_post__keeps_nothing_on_the_disk_that_nobody_signed(spool, away, post, body, secret):
    assert post(body, secret=secret).status_code == 400
    assert not spool.folder.exists()


@pytest.mark.django_db
def test_post__answers_503_where_the_spool_is_full(spool, away, post, body, webhook_setting):
    webhook_setting(SPOOL_MAX_FILES=1)
    assert post(body, delivery_id="one").status_code == 204
    answer = post(body, delivery_id="two")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "The delivery could not be stored, and the spool is full."
