"""The same loads on Pulsar Proxy, Nchan, NATS and a relay in FastAPI: CPU and memory of each server.

Each server gets the same bytes to publish and the same number of WebSockets to deliver them to. What is measured
is the server's own CPU time (user and system, all its processes) per operation, and how much its memory (PSS) grows
per idle subscriber; so the speed of this script matters little, and neither does what else the machine does.

compare.py DIRECTORY PULSAR_PROXY PYTHON [SERVER...]
"""

import base64
import http.client
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PAYLOAD = json.dumps({"marker": "compare", "text": "x" * 220}, separators=(",", ":"))
MARKER = b'"marker"'
TICKS = os.sysconf("SC_CLK_TCK")
DEADLINE_SECONDS = 60


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def masked(opcode, data):
    """A WebSocket frame of a client; the mask is zeros."""
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + data


class Server:
    """A server under load: how it is started, spoken to and measured."""

    # How many messages of a burst are answered as one; the others are pipelined.
    bulk = 1

    def __init__(self, command, port, **environment):
        self.port = port
        self.process = subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None, f"{command} does not listen"
                time.sleep(0.05)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)

    def processes(self):
        """It and its children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def cpu(self):
        """Seconds of user and system time."""
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.processes()]
        return sum(int(it[11]) + int(it[12]) for it in fields) / TICKS

    def memory(self):
        """Bytes of memory in proportion."""
        def pss(pid):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return sum(map(pss, self.processes()))

    def websocket(self, path, port=None):
        it = socket.create_connection(("127.0.0.1", port or self.port))
        key = base64.b64encode(os.urandom(16)).decode()
        it.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        self.await_text(it, b"\r\n\r\n")
        return it

    @staticmethod
    def await_text(it, text):
        got = b""
        it.settimeout(20)
        while text not in got:
            more = it.recv(4096)
            assert more, got
            got += more
        return got

    def publisher(self):
        it = socket.create_connection(("127.0.0.1", self.port))
        it.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return it

    def post(self, path, body):
        return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}").encode()

    # What a publish is answered with, once for each request.
    answer = b"HTTP/1.1 20"

    def answers(self, publisher):
        """How many answers have come; at least some bytes have."""
        got = publisher.recv(65536)
        assert got, "closed"
        return got.count(self.answer)


class PulsarProxy(Server):
    name = "Pulsar Proxy"
    bulk = 50

    def __init__(self, directory, program, python):
        port = free_port()
        super().__init__([program, "--port", str(port), "--workers", "2", "--max-messages-per-topic", "1000",
                          "--max-connections", "100000"], port)

    def subscribe(self, topic):
        it = self.websocket("/ws")
        it.sendall(masked(1, json.dumps({"type": "subscribe", "topics": [topic], "client_id": "me"}).encode()))
        self.await_text(it, b'"subscribed"')
        return it

    def publish(self, topic, count=1):
        message = f'{{"topic":"{topic}","payload":{PAYLOAD}}}'
        if count == 1:
            return self.post("/api/v1/messages", message)
        return self.post("/api/v1/messages/bulk", f'{{"messages":[{",".join([message] * count)}]}}')


class Nchan(Server):
    name = "Nchan"

    def __init__(self, directory, program, python):
        port = free_port()
        config = directory / "nginx.conf"
        config.write_text(f"""
            load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
            daemon off; worker_processes 2; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
            worker_rlimit_nofile 60000;
            events {{ worker_connections 30000; }}
            http {{
                access_log off;
                keepalive_requests 1000000000;
                nchan_shared_memory_size 512M;
                server {{
                    listen 127.0.0.1:{port} reuseport;
                    location = /pub {{ nchan_publisher; nchan_channel_id $arg_id; nchan_message_buffer_length 1000;
                                       nchan_message_timeout 10m; }}
                    location = /sub {{ nchan_subscriber websocket; nchan_channel_id $arg_id;
                                       nchan_subscriber_first_message newest; }}
                }}
            }}""")
        super().__init__(["nginx", "-c", str(config), "-e", f"{directory}/nginx.log"], port)

    def subscribe(self, topic):
        return self.websocket(f"/sub?id={topic}")

    def publish(self, topic, count=1):
        return self.post(f"/pub?id={topic}", PAYLOAD) * count


class Nats(Server):
    name = "NATS (core)"
    bulk = 50
    answer = b"PONG\r\n"

    def __init__(self, directory, program, python):
        port, self.websockets = free_port(), free_port()
        config = directory / "nats.conf"
        config.write_text(f"""
            host: 127.0.0.1, port: {port}, max_connections: 100000
            websocket {{ host: 127.0.0.1, port: {self.websockets}, no_tls: true }}""")
        super().__init__(["nats-server", "-c", str(config)], port, GOMAXPROCS="2")

    def subscribe(self, topic):
        it = self.websocket("/", self.websockets)
        it.sendall(masked(2, b'CONNECT {"verbose":false}\r\nSUB ' + topic.encode() + b" 1\r\nPING\r\n"))
        self.await_text(it, b"PONG")
        return it

    def publisher(self):
        it = super().publisher()
        it.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
        self.await_text(it, b"PONG")
        return it

    def publish(self, topic, count=1):
        # The answer to PING says that what was before it has been taken.
        return f"PUB {topic} {len(PAYLOAD)}\r\n{PAYLOAD}\r\n".encode() * count + b"PING\r\n"

    def answers(self, publisher):
        got = publisher.recv(65536)
        assert got, "closed"
        if b"PING" in got:
            publisher.sendall(b"PONG\r\n")
        return got.count(self.answer)


class FastApi(Server):
    name = "relay in FastAPI"

    def __init__(self, directory, program, python):
        port = free_port()
        super().__init__([python, "-m", "uvicorn", "compare_relay:app", "--app-dir", str(HERE), "--port", str(port),
                          "--loop", "uvloop", "--http", "httptools", "--ws", "websockets", "--no-access-log",
                          # These subscribers do not answer pings.
                          "--ws-ping-interval", "600", "--ws-ping-timeout", "600"], port)

    subscribe = PulsarProxy.subscribe
    publish = PulsarProxy.publish
    bulk = 50


class Receivers:
    """Subscribers that count what they are sent."""

    def __init__(self, server, topics):
        self.poll = select.epoll()
        self.sockets, self.rests, self.received = {}, {}, 0
        for topic in topics:
            it = server.subscribe(topic)
            it.setblocking(False)
            self.sockets[it.fileno()] = it
            self.rests[it.fileno()] = b""
            self.poll.register(it, select.EPOLLIN)

    def wait(self, count):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.received < count:
            assert time.monotonic() < deadline, f"{self.received} of {count} came"
            for number, _ in self.poll.poll(1):
                got = self.rests[number] + self.sockets[number].recv(262144)
                self.received += got.count(MARKER)
                # A marker may be cut in two, and must not be counted twice.
                self.rests[number] = b"" if got.endswith(MARKER) else got[-len(MARKER) + 1:]
        assert self.received == count

    def close(self):
        for it in self.sockets.values():
            it.close()


def publish_cost(server, seconds=4, connections=16):
    """Microseconds of CPU for a message, each connection with one under way."""
    poll = select.epoll()
    publishers = {it.fileno(): it for it in (server.publisher() for _ in range(connections))}
    requests = {number: server.publish(f"publish-{number}") for number in publishers}
    for number, it in publishers.items():
        poll.register(it, select.EPOLLIN)
        it.sendall(requests[number])
    before, end, done = server.cpu(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for number, _ in poll.poll(1):
            if server.answers(publishers[number]):
                publishers[number].sendall(requests[number])
                done += 1
    return (server.cpu() - before) / done * 1e6


def fan_out_cost(server, burst, rounds, subscribers=500):
    """Microseconds of CPU for a delivery, the next burst when all have all of the last."""
    receivers, publisher = Receivers(server, ["fan-out"] * subscribers), server.publisher()
    request = server.publish("fan-out", burst)
    before, expected = server.cpu(), 0
    for _ in range(rounds):
        publisher.sendall(request)
        answers = -(-burst // server.bulk)
        while answers > 0:
            answers -= server.answers(publisher)
        expected += burst * subscribers
        receivers.wait(expected)
    cost = (server.cpu() - before) / expected * 1e6
    receivers.close()
    return cost


def idle_memory(server, subscribers=5000):
    """Bytes for an idle subscriber with a topic of its own."""
    few = Receivers(server, [f"idle-{number}" for number in range(100)])
    before = server.memory()
    many = Receivers(server, [f"idle-{100 + number}" for number in range(subscribers)])
    growth = (server.memory() - before) / subscribers
    few.close()
    many.close()
    return growth


def main():
    directory, program, python = Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
    wanted = sys.argv[4:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("| | publish | delivery, one at a time | delivery, bursts of 50 | idle subscriber |\n|---|---|---|---|---|")
    for kind in (PulsarProxy, Nchan, Nats, FastApi):
        if wanted and kind.__name__ not in wanted:
            continue
        loads = (
            ("{:.1f} µs", publish_cost),
            ("{:.2f} µs", lambda server: fan_out_cost(server, burst=1, rounds=400)),
            ("{:.2f} µs", lambda server: fan_out_cost(server, burst=50, rounds=40)),
            ("{:,.0f} bytes", idle_memory),
        )
        row = []
        for form, load in loads:
            server = kind(directory, program, python)
            try:
                row.append(form.format(load(server)))
            finally:
                server.stop()
        print(f"| {kind.name} | {' | '.join(row)} |", flush=True)


main()
