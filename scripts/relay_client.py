"""Long polls of pulsar-relay-client against the server whose address is the first argument."""

import json
import sys
import tempfile
import threading
import time
import urllib.request

from pulsar_relay_client import RelayTransport

address = sys.argv[1]


class Anybody:
    """Stands for the credentials, which a server without access control ignores."""

    def get_token(self):
        return "none"

    def invalidate(self):
        raise AssertionError("the server refused the token")


def transport(cursor_path=None):
    return RelayTransport(address, auth_manager=Anybody(), cursor_path=cursor_path)


def waiters():
    with urllib.request.urlopen(f"{address}/messages/poll/stats") as answer:
        return json.load(answer)["active_waiters"]


def wait_for_a_waiter():
    deadline = time.monotonic() + 10
    while waiters() != 1:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)


def in_background(client, topics):
    result = []
    thread = threading.Thread(target=lambda: result.extend(client.long_poll(topics, timeout=20)))
    thread.start()
    wait_for_a_waiter()
    return thread, result


def numbers(messages):
    return [message["payload"]["n"] for message in messages]


with tempfile.TemporaryDirectory() as directory:
    path = f"{directory}/cursor.json"
    producer, client = transport(), transport(path)

    assert client.long_poll(["jobs"], timeout=1) == []
    print("a poll without messages ends with an empty list")

    thread, result = in_background(client, ["jobs", "status"])
    first = producer.post_message("jobs", {"n": 1}, metadata={"kind": "test"})
    thread.join()
    assert numbers(result) == [1], result
    assert set(result[0]) == {"topic", "message_id", "payload", "timestamp", "metadata", "stream_id"}
    assert result[0]["metadata"] == {"kind": "test"}
    assert result[0]["message_id"] == first["message_id"]
    assert client.get_last_message_id("jobs") == first["message_id"]
    print("a waiting poll is woken, and its message has all fields")

    for n in range(2, 5):
        producer.post_message("jobs", {"n": n})
    producer.post_message("status", {"n": 5})
    client.long_poll(["jobs"], timeout=1)
    assert numbers(client.long_poll(["jobs", "status"], timeout=1)) == [5]
    print("what was missed comes first, a topic without a place from its oldest message")

    for n in range(6, 8):
        producer.post_message("jobs", {"n": n})
    again = transport(path)
    assert again.get_all_tracked_message_ids() == client.get_all_tracked_message_ids()
    assert numbers(again.long_poll(["jobs", "status"], timeout=1)) == [6, 7]
    assert again.long_poll(["jobs", "status"], timeout=1) == []
    print("after a restart the client goes on where it was")

    for n in range(0, 250, 100):
        messages = [{"topic": "bulk", "payload": {"n": n + m}} for m in range(min(100, 250 - n))]
        producer.post_bulk_messages(messages)
    got = []
    again.set_last_message_id("bulk", "unknown")
    while len(got) < 250:
        part = numbers(again.long_poll(["bulk"], timeout=1))
        assert part, f"only {len(got)} came"
        got += part
    assert got == list(range(250)), got
    print("all of a backlog comes, in order")

print("pulsar-relay-client works")
