"""Opens idle WebSockets with one subscription each, and says what the kernel keeps for them.

Both ends of a connection are on this machine, so half of what the slabs grew by is counted for the server.
Reading /proc/slabinfo takes root.
"""

import base64
import os
import resource
import socket
import sys
import time

# What an end of a connection takes: the socket, its file, and its place in a selector.
SLABS = ("TCP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq", "ep_head", "lsm_inode_cache",
         "request_sock_TCP", "tw_sock_TCP", "tcp_bind_bucket", "tcp_bind2_bucket", "skbuff_head_cache",
         "skbuff_small_head", "kmalloc-1k", "kmalloc-512")


def slabs():
    """Bytes of objects in use, by slab."""
    with open("/proc/slabinfo") as lines:
        rows = [line.split() for line in lines if not line.startswith(("slabinfo", "#"))]
    return {row[0]: int(row[1]) * int(row[3]) for row in rows if row[0] in SLABS}


def settled_slabs():
    """The same when they have stopped moving: files that were closed are freed a little later."""
    before = slabs()
    while True:
        time.sleep(1)
        now = slabs()
        if abs(sum(now.values()) - sum(before.values())) < 64 * 1024:
            return now
        before = now


def frame(text):
    """A masked text frame; the mask is zeros."""
    data = text.encode()
    assert len(data) < 126
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


def websocket(port, number):
    """A WebSocket that has been told that its subscription stands."""
    it = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    it.sendall((f"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode()
               + frame(f'{{"type":"subscribe","topics":["topic-{number}"],"client_id":"me"}}'))
    answer = b""
    while b'"subscribed"' not in answer:
        more = it.recv(4096)
        assert more, answer
        answer += more
    return it


def main():
    port, connections = int(sys.argv[1]), int(sys.argv[2])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The first ones pay for what all share.
    opened = [websocket(port, number) for number in range(100)]
    before = settled_slabs()
    opened += [websocket(port, 100 + number) for number in range(connections)]
    after = settled_slabs()
    growth = {name: (after[name] - before[name]) / connections / 2 for name in before}
    print(f"bytes of the kernel for each end of a connection ({connections} connections):")
    for name, size in sorted(growth.items(), key=lambda item: -item[1]):
        if size >= 8:
            print(f"  {name:20} {size:6.0f}")
    print(f"  {'together':20} {sum(growth.values()):6.0f}")
    for it in opened:
        it.close()


main()
