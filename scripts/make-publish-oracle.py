#!/usr/bin/env python3
"""Records what FastAPI and pydantic answer to publish bodies, for tests/publish_oracle.rs.

    python3.11 -m venv target/oracle-venv
    target/oracle-venv/bin/pip install fastapi==0.115.0 'pydantic==2.10.*' httpx
    target/oracle-venv/bin/python scripts/make-publish-oracle.py > tests/data/publish_oracle.jsonl

One JSON object a line: `body` (or `hex` when it is not UTF-8), `type` (content type, when it is not
`application/json`), `bulk`, `status`, and `detail` (422) or `messages` (200). A message's `payload`
is left out where it holds what JSON cannot say (lone surrogates, infinities).
The choice of bodies is fixed: the script writes the same file again.
"""

import json
import random
import sys
from typing import Any, Dict, List, Optional

import fastapi
import pydantic
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field, field_validator

TTL_MAX = 2**64 - 1
RANDOM_BODIES = 600


class Message(BaseModel):
    topic: str = Field(..., min_length=1, max_length=255)
    payload: Dict[str, Any]
    ttl: Optional[int] = Field(None, gt=0)
    metadata: Optional[Dict[str, str]] = None

    @field_validator("topic")
    @classmethod
    def topic_characters(cls, topic: str) -> str:
        if not topic.replace("-", "").replace("_", "").isalnum():
            raise ValueError("Topic must contain only alphanumeric characters, hyphens, and underscores")
        return topic


class Bulk(BaseModel):
    messages: List[Message] = Field(..., min_length=1, max_length=100)


app = fastapi.FastAPI()


def plain(message: Message) -> Dict[str, Any]:
    said = {"topic": message.topic}
    if message.ttl is not None:
        said["ttl"] = min(message.ttl, TTL_MAX)
    for name in ("payload", "metadata"):
        value = getattr(message, name)
        try:
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except ValueError:
            continue
        if value is not None:
            said[name] = value
    return said


@app.post("/one")
async def one(message: Message):
    return JSONResponse([plain(message)])


@app.post("/bulk")
async def bulk(body: Bulk):
    return JSONResponse([plain(message) for message in body.messages])


def with_field(name: str, value: str) -> str:
    fields = {"topic": '"t"', "payload": "{}"}
    fields[name] = value
    return "{" + ",".join(f'"{key}":{text}' for key, text in fields.items()) + "}"


GOOD = [
    '{"topic":"notifications","payload":{"user_id":123,"message":"Hello!"},"ttl":3600,"metadata":{"priority":"high"}}',
    ' {"topic" : "a-b_C9", "payload" : { "x" : [ 1 , 2.5e3 , true , null , "\\u00e9\\n" ] } , "other" : [ { } ] }\n',
    '{"payload":{"größe":"日本"},"topic":"größe","ttl":null,"metadata":null}',
    '{"topic":"\\u0061","payload":{"a":{"b":{"c":[[],{}]}}},"metadata":{"k":"v","l":""}}',
    '{"topic":"x","topic":"y","payload":1,"payload":{"a":1,"a":2},"ttl":"x","ttl":1}',
    '{"messages":[{"topic":"t1","payload":{"data":1}},{"topic":"t2","payload":{"data":2},"ttl":5}]}',
]
VALUES = [
    "null", "true", "false", "0", "-0", "1", "-1", "1.5", "0.0", "-0.0", "2.0", "1e2", "1E+2", "1e-2", "1e18",
    "9.3e18", "-1e30", "1e30", "1e308", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551615", "18446744073709551616", "1" + "0" * 60, "[]", "{}", "[1]", '{"a":1}', '{"a":"b"}',
    '""', '" "', '"a"', '"-"', '"_-_"', '"a b"', '"a\\u0000"', '"\\u0000"', '"½"', '"Ⅷ"', '"①"', '"ⓐ"', '"e\\u0301"',
    '"\\u00e9"', '"\\ud835\\udd18"', '"🙂"', '"日本語"', '"' + "a" * 255 + '"', '"' + "a" * 256 + '"',
    '"' + "日" * 255 + '"', '"' + "-" * 256 + '"', '{"a":null,"b":"c","d":1.5}', '{"a":1,"a":"x"}', '{"a":"x","a":1}',
    '{"b":1,"a":2,"b":"x","a":3,"b":4}', '{"\\u0061":1,"a":"x"}', '{"":[]}', '{"a\\"b":{}}', '{"a":"\\ud800"}',
    '{"\\ud800":"x"}', '"\\ud800"', '"\\udc00x"', '{"a":1e999}', '{"a":NaN}', "NaN", "Infinity", "-Infinity", "1e999",
]
TTLS = [
    '"60"', '" 60 "', '"+5"', '"+ 5"', '"--5"', '"+-5"', '"-+5"', '"++5"', '"1_000"', '"1__0"', '"_1"', '"1_"',
    '"+_5"', '"-_5"', '"1_000.0"', '"1._0"', '"1.0_0"', '"1."', '".0"', '"."', '"+.0"', '"1.0"', '"1.00"', '"1.5"',
    '"1.01"', '"1.0.0"', '"-1"', '"-1.0"', '"-0"', '"+0"', '"0"', '"00"', '"01"', '"0_1"', '"0__1"', '"00_"', '"0_.0"', '"-0_1"', '"0.0"',
    '"1 0"', '"1\\t"', '"\\n1"', '"\\u00a01\\u00a0"', '"\\u30001"', '"\\u20281"', '"\\u00851"', '"\\u001f1"',
    '"\\u200b1"', '"\\ufeff1"', '"\\u180e1"', '"1\\u0000"', '"١"', '"²"', '"1e5"', '"0x10"', '"0b1"', '"true"', '"None"',
    '"inf"', '"nan"', '"999999999999999999"', '"9999999999999999999"', '"+999999999999999999"',
    '"18446744073709551615"', '"18446744073709551616"', '"-99999999999999999999"', '"99999999999999999999.0"',
    '"9999999999999999999_9"', '"000000000000000000005"', '"-000000000000000000000"', '"+0000000000000000000_7.000"',
    '"1_0000000000000000000"', '"____________________1"', '"' + "1" * 4300 + '"', '"' + "1" * 4301 + '"',
    '"' + " " * 10 + "1" * 4295 + '"', '"1.' + "0" * 4299 + '"',
]
BROKEN = [
    "", " ", "\n", "{", "}", "[", "]", '"', '"a', "{}", "[]", "{},", "{}{}", "{} x", "null", " null ", "nul", "nulll",
    "true", "tru", "1", "1.", "1.e1", "01", "-", "-a", "+1", ".5", "1e", "1e+", "0x1", '"x"', "'a'", "{'a':1}", "{a:1}",
    '{"a"}', '{"a":}', '{"a":1,}', '{"a":1,,}', '{,}', '{"a" 1}', '{"a":1 "b":2}', '{"a":1]', '[1}', "[1,]", "[,1]",
    "[1 2]", "[1,,2]", '{"a":"b\nc"}', '{"a\tb":1}', '{"a":"\\x"}', '{"a":"\\', '{"a":"\\u', '{"a":"\\u12"}',
    '{"a":"\\u12g4"}', '{"a":"\\u1234', '{"a":"\\ud800\\u12"}', '{"a":"\\ud800\\u12g4"}', '{"a":"\\ud800\\', "\x00", "\x0b{}",
    "{}\x00", "\ufeff", "\ufeff{}", "\ufeff\ufeff{}", "\ufeff{\"topic\":\"é\",", " \ufeff{}", "\u00a0{}", "/* */{}", "{}//",
    '{"é":"ü', '{"é":ü}', '{"🙂":"🙂" 1}', "NaN", "-Infinity", "Infinity", "-Inf", "[NaN]", "[nan]", "undefined", "True",
    '{"topic":"t","payload":{}', '{"topic":"t","payload":{}}}', '{"topic":"t","payload":{"a":NaN}}', '[{"topic":"t","payload":{}}]',
    "[" * 100, '{"a":' * 100, '{"topic":"t","payload":{"a":' + "[" * 100 + "]" * 100 + "}}", "-", "--1", "- 1",
    '{"topic":"t","payload":{"n":1' + "0" * 300 + '}}', '{"topic":"t","payload":{"a":1},"payload":{"b":2},"payload":3}',
]
NOT_UTF8 = [
    b"\xff", b'{"topic":"\xff","payload":{}}', b'{"topic":"t","payload":{"a":"\xed\xa0\x80"}}', b'{"a":"\xc0\x80"}',
    b'{"topic":"\xc3', "{}".encode("utf-16"), '{"topic":"t","payload":{}}'.encode("utf-16-le"), b'{"topic":"\xc3\xa9\x80"}',
]
MESSAGES = [
    "null", "{}", '"x"', "1", "[]", "[1]", "[null]", "[[]]", '["x"]', "[{}]", '[{"topic":"t","payload":{}},2,{}]',
    '[{"topic":"","payload":[],"ttl":0,"metadata":{"k":1}},{"topic":"t","payload":{}},{"topic":"!","payload":null}]',
    "[" + ",".join(["1"] * 100) + "]", "[" + ",".join(["{}"] * 101) + "]", "[" + ",".join(["0"] * 103) + "]",
    "[" + ",".join(['{"topic":"t","payload":{}}'] * 100) + "]", "[" + ",".join(['{"topic":"t","payload":{}}'] * 101) + "]",
    "[" + ",".join(["{}"] * 55) + "]", '{"topic":"t","payload":{}}',
]
TYPES = [
    None, "", "application/json; charset=utf-8", "Application/JSON", "application/problem+json", "application/+json",
    "application/json;", " application/json ", "application/jsonx", "application/x-json", "text/json", "text/plain",
    "application/x-www-form-urlencoded", "application", "json", "application/json/x", "application/json, text/plain",
    "multipart/form-data; boundary=x", "*/*", ";", "application/vnd.api+JSON;v=1", "application/json+x",
]
TOKENS = [
    "{", "}", "[", "]", ",", ":", '"', "\\", "null", "true", "0", "-", ".", "e", "\n", "\r\n", " ", "\t", "\x00", "é",
    "🙂", "\\u0041", "\\ud83d", "\\n", '"topic"', '"ttl":', '"payload":{}', '"metadata":{"a":1}', '"topic":"-",', "1e5",
    "NaN", "9" * 25, '{"a":[]}', '"messages":[', "\\", "'", "//",
]


def mutate(rng: random.Random, text: str) -> str:
    for _ in range(rng.randint(1, 3)):
        at, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:at] + text[at + rng.randint(1, 3) :]
        elif kind == 1:
            text = text[:at] + rng.choice(TOKENS) + text[at:]
        elif kind == 2:
            text = text[:at] + rng.choice(TOKENS) + text[at + 1 :]
        elif kind == 3:
            text = text[:end] + text[at : min(end, at + 30)] + text[end:]
        else:
            text = text[: len(text) - rng.randint(0, 3)]
    return text


def random_message(rng: random.Random) -> str:
    # Without what the reference answers with status 500.
    short = [v for v in VALUES + TTLS if len(v) < 30 and not any(w in v for w in ("\\ud8", "\\udc", "NaN", "Inf", "e999"))]
    members = []
    for name in ("topic", "payload", "ttl", "metadata", "topic", "other"):
        if rng.random() < 0.6:
            plausible = {"topic": '"t"', "payload": '{"a":1}', "metadata": '{"a":"b"}'}.get(name, "7")
            value = plausible if rng.random() < 0.5 else rng.choice(short)
            members.append(f'"{name}":{value}')
    rng.shuffle(members)
    return "{" + ",".join(members) + "}"


def cases():
    for body in GOOD + BROKEN:
        for bulk in (False, True):
            yield body, "application/json", bulk
    for name in ("topic", "payload", "metadata", "ttl"):
        for value in VALUES:
            yield with_field(name, value), "application/json", False
    for value in TTLS:
        yield with_field("ttl", value), "application/json", False
    for body in NOT_UTF8:
        yield body, "application/json", False
    for value in MESSAGES:
        yield '{"messages":%s}' % value, "application/json", True
    yield '{"messages":1,"messages":[{"topic":"t","payload":{}}]}', "application/json", True
    yield '{"messages":[{"topic":"t","payload":{}}],"messages":[]}', "application/json", True
    many = ",".join(f'"k{n}":{n}' for n in range(104))
    yield with_field("metadata", "{" + many + "}"), "application/json", False
    for kind in TYPES:
        yield GOOD[0], kind, False
        yield "", kind, True
    yield "größe \"\n", "text/plain", False
    yield "null", "text/plain", True
    rng = random.Random(20260131)
    for _ in range(RANDOM_BODIES * 3 // 4):
        body = rng.choice(GOOD)
        yield mutate(rng, body), "application/json", '"messages"' in body
    for _ in range(RANDOM_BODIES // 8):
        yield random_message(rng), "application/json", False
        body = ",".join(random_message(rng) for _ in range(rng.randint(1, 3)))
        yield '{"messages":[%s]}' % body, "application/json", True


def answer(client: TestClient, body, kind: Optional[str], bulk: bool) -> Dict[str, Any]:
    raw = body if isinstance(body, bytes) else body.encode()
    headers = {} if kind is None else {"content-type": kind}
    response = client.post("/bulk" if bulk else "/one", content=raw, headers=headers)
    case: Dict[str, Any] = {"hex": raw.hex()} if isinstance(body, bytes) else {"body": body}
    if kind != "application/json":
        case["type"] = kind
    if bulk:
        case["bulk"] = True
    case["status"] = response.status_code
    if response.status_code == 422:
        case["detail"] = response.json()["detail"]
    elif response.status_code == 200:
        case["messages"] = response.json()
    return case


def main() -> None:
    print("fastapi", fastapi.__version__, "pydantic", pydantic.VERSION, "python", sys.version.split()[0], file=sys.stderr)
    client = TestClient(app, raise_server_exceptions=False)
    for body, kind, bulk in cases():
        print(json.dumps(answer(client, body, kind, bulk), ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
