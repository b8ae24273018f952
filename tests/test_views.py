from perfsee_webhooks.models import Delivery


def test_receive__stores_and_answers_204(db, post, body, connect):
    receiver = connect()
    answer = post(body)
    assert answer.status_code == 204
    d = Delivery.objects.get()
    assert type(d.body), type(d.body)
    assert bytes(d.body) == body
    assert d.state == "succeeded"
    assert receiver.call_count == 1
