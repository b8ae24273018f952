from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from hypothesis import given

from perfsee_webhooks import events
from perfsee_webhooks.javascript import stringify
from perfsee_webhooks.samples import sample_body

from .strategies import ANY_JSON

NODE = shutil.which("node")

IN_NODE = """
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
const written = texts.map((text) => JSON.stringify(JSON.parse(text)));
process.stdout.write(JSON.stringify(written));
"""

# A JSON text, and what JavaScript writes of it (ECMAScript, Number::toString, JSON.stringify and
# OrdinaryOwnPropertyKeys).
VECTORS = [
    ("1e21", "1e+21"),
    ("999999999999999900000", "999999999999999900000"),
    ("123456789012345680000", "123456789012345680000"),
    ("123456789012345678901234567890", "1.2345678901234568e+29"),
    ("1e-6", "0.000001"),
    ("1e-7", "1e-7"),
    ("1.5e-7", "1.5e-7"),
    ("0.00000123", "0.00000123"),
    ("-0", "0"),
    ("-0.0", "0"),
    ("0.1", "0.1"),
    ("0.30000000000000004", "0.30000000000000004"),
    ("1.0", "1"),
    ("-1.50", "-1.5"),
    ("100", "100"),
    ("12345.678", "12345.678"),
    ("-1e300", "-1e+300"),
    ("1e400", "null"),
    ("5e-324", "5e-324"),
    ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ("9007199254740991", "9007199254740991"),
    ("9007199254740993", "9007199254740992"),
    ("-9007199254740993", "-9007199254740992"),
    ("9" * 400, "null"),
    ("[ true , false , null ]", "[true,false,null]"),
    ('{ "a" : { } , "b" : [ ] }', '{"a":{},"b":[]}'),
    (r'"\u2028\u2029"', '"\u2028\u2029"'),
    (r'"\u007f\u0080"', '"\x7f\x80"'),
    (r'"\u0000\u001F\b\f\n\r\t"', r'"\u0000\u001f\b\f\n\r\t"'),
    (r'"\"\\\/"', r'"\"\\/"'),
    (r'"\uD83D"', r'"\ud83d"'),
    (r'"\uDE00\uD83D"', r'"\ude00\ud83d"'),
    (r'"\uD83D\uDE00"', '"😀"'),
    (r'{"\uDC00":1}', r'{"\udc00":1}'),
    ('{"b":1,"10":2,"a":3,"2":4}', '{"2":4,"10":2,"b":1,"a":3}'),
    ('{"01":1,"1":2,"-1":3,"1.0":4,"":5,"0":6}', '{"0":6,"1":2,"01":1,"-1":3,"1.0":4,"":5}'),
    ('{"a":0,"4294967295":1,"4294967294":2}', '{"4294967294":2,"a":0,"4294967295":1}'),
    ('{"99999999999":1,"7":2}', '{"7":2,"99999999999":1}'),
    ('{"²":1,"1٣":2,"3":3}', '{"3":3,"²":1,"1٣":2}'),
    ('{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'),
    ('{"__proto__":1,"toJSON":2}', '{"__proto__":1,"toJSON":2}'),
]


def as_node_writes(texts: list[str]) -> list[str]:
    answer = subprocess.run(
        [str(NODE), "-e", IN_NODE], input=json.dumps(texts), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    written: list[str] = json.loads(answer.stdout)
    return written


@pytest.mark.parametrize(("text", "written"), VECTORS)
def test_stringify__writes_as_javascript_does(text, written):
    assert stringify(json.loads(text)) == written


@pytest.mark.parametrize("event_type", events.KNOWN)
def test_stringify__writes_a_body_of_perfsee_as_it_came(event_type):
    body = sample_body(event_type).decode()
    indented = json.dumps(json.loads(body), indent=4)
    assert stringify(json.loads(indented)) == body


def test_stringify__raises_for_what_is_nested_too_deeply():
    value: object = 1
    for _ in range(20_000):
        value = [value]
    with pytest.raises(RecursionError):
        stringify(value)


@pytest.mark.skipif(NODE is None, reason="There is no Node.js to compare with.")
def test_stringify__writes_what_node_writes():
    drawn: list[str] = []

    @given(ANY_JSON)
    def draw(value):
        drawn.append(json.dumps(value).replace("NaN", "0").replace("Infinity", "1e999"))

    draw()
    texts = [text for text, _ in VECTORS] + drawn
    assert len(drawn) >= 100
    assert [stringify(json.loads(text)) for text in texts] == as_node_writes(texts)
