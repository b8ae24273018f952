import sys
from datetime import timedelta
from importlib import import_module

import pytest
import time_machine
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from perfsee_webhooks.models import Heartbeat, Replay
from perfsee_webhooks.prometheus import PerfseeCollector

from .figures import came, moment, refused

NOW = moment("2026-11-24T12:00")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def registry():
    made = CollectorRegistry()
    made.register(PerfseeCollector())
    return made


def samples_of(families):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def scraped(registry):
    with time_machine.travel(NOW, tick=False):
        return samples_of(text_string_to_metric_families(generate_latest(registry).decode()))


def test_collector__registers_without_a_database():
    # A test without the database fails when it asks for one.
    registry = CollectorRegistry(auto_describe=True)
    registry.register(PerfseeCollector())
    names = {family.name for family in PerfseeCollector().describe()}
    assert "perfsee_webhooks_up" in names
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(PerfseeCollector())


@pytest.mark.django_db
def test_collector__tells_where_the_site_stands(registry):
    came(NOW - 90 * MINUTE)
    came(NOW - MINUTE, "dead")
    came(NOW - 2 * MINUTE, "failed", next_attempt_at=NOW + MINUTE)
    came(NOW - 3 * MINUTE, "received", next_attempt_at=NOW - 2 * MINUTE)
    came(NOW - 4 * MINUTE, "received", next_attempt_at=NOW - MINUTE, handed_over_at=NOW)
    refused(NOW, not_kept=3)
    Heartbeat.objects.create(name="sweep", beat_at=NOW - timedelta(hours=1))
    Replay.objects.create(requested_by="a", next_batch_at=NOW)
    assert scraped(registry) == {
        ("perfsee_webhooks_up",): 1,
        ("perfsee_webhooks_deliveries", "received"): 2,
        ("perfsee_webhooks_deliveries", "processing"): 0,
        ("perfsee_webhooks_deliveries", "failed"): 1,
        ("perfsee_webhooks_deliveries", "dead"): 1,
        ("perfsee_webhooks_due",): 2,
        ("perfsee_webhooks_overdue",): 1,
        ("perfsee_webhooks_longest_wait_seconds",): 120,
        ("perfsee_webhooks_last_received_timestamp_seconds",): (NOW - MINUTE).timestamp(),
        ("perfsee_webhooks_last_swept_timestamp_seconds",): NOW.timestamp() - 3600,
        ("perfsee_webhooks_sweep_missed",): 1,
        ("perfsee_webhooks_refused_last_hour",): 4,
        ("perfsee_webhooks_replays_running",): 1,
        ("perfsee_webhooks_replays_stalled",): 1,
    }


@pytest.mark.django_db
def test_collector__what_never_was_has_no_sample(registry):
    found = scraped(registry)
    assert found["perfsee_webhooks_longest_wait_seconds",] == 0
    assert not [name for (name, *_labels) in found if "timestamp" in name]


@pytest.mark.django_db
def test_collector__writes_open_metrics_too(registry):
    came(NOW)
    written = exposition.generate_latest(registry).decode()
    assert samples_of(open_metrics(written)).keys() == scraped(registry).keys()


@pytest.mark.django_db
def test_collector__describes_all_that_it_collects():
    def described(families):
        return [(family.name, family.type, family.documentation) for family in families]

    collector = PerfseeCollector()
    assert described(collector.describe()) == described(collector.collect())
    assert not samples_of(collector.describe())
    for _name, kind, text in described(collector.describe()):
        assert (kind, text[-1]) == ("gauge", ".")


@pytest.mark.django_db
def test_collector__is_down_while_the_tables_are_away(registry, caplog, take_away):
    take_away(Heartbeat)
    assert scraped(registry) == {("perfsee_webhooks_up",): 0}
    [record] = caplog.records
    assert (record.name, record.levelname) == ("perfsee_webhooks.prometheus", "ERROR")
    assert record.exc_info


@pytest.mark.django_db
def test_collector__stands_beside_those_of_several_processes(registry, tmp_path):
    MultiProcessCollector(registry, path=str(tmp_path))
    assert scraped(registry)["perfsee_webhooks_up",] == 1


@pytest.mark.django_db
def test_collector__makes_as_many_statements_as_the_stats(django_assert_num_queries):
    with django_assert_num_queries(10):
        list(PerfseeCollector().collect())


def test_collector__without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client.core", None)
    monkeypatch.delitem(sys.modules, "perfsee_webhooks.prometheus")
    with pytest.raises(ImportError, match=r"pip install 'django-perfsee-webhooks\[prometheus\]'"):
        import_module("perfsee_webhooks.prometheus")
