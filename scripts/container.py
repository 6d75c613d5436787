"""Runs what the last stage of a Dockerfile makes as a container engine would, and tries it; for container.sh, which
brings it into a network and mounts of its own.

container.py DOCKERFILE PROGRAM DIRECTORY
"""

import base64
import http.client
import http.server
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time

import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives import serialization
from dnslib import A, QTYPE, RCODE, RR
from dnslib.server import DNSLogger, DNSServer
from dockerfile_parse import DockerfileParser

DEADLINE = 20
PUBLISHED = {"topic": "news", "payload": {"n": 1}}


def fail(text):
    sys.exit(f"container.sh: {text}")


def expect(condition, text):
    if not condition:
        fail(text)


class Image:
    """The last stage of a Dockerfile, as far as it only copies into an empty root and says how to run it."""

    def __init__(self, dockerfile, program, root):
        steps = [
            (step["instruction"], step["value"])
            for step in DockerfileParser(fileobj=open(dockerfile, "rb")).structure
            if step["instruction"] != "COMMENT"
        ]
        last = max(at for at, (name, _) in enumerate(steps) if name == "FROM")
        expect(steps[last][1] == "scratch", "the last stage is not from scratch")
        built = [
            re.search(r'cp "\$\(scripts/build-static\.sh\)" (\S+)$', value)
            for name, value in steps[:last]
            if name == "RUN"
        ]
        expect(built and built[-1], "the build does not end with what scripts/build-static.sh makes")
        self.root, self.environment = root, {}
        self.files = set()
        for name, value in steps[last + 1 :]:
            if name == "COPY":
                origin, source, target = value.split()
                expect(origin == "--from=build", f"COPY {value}: not from the build")
                self.copy(program if source == built[-1][1] else source, target)
            elif name == "ENV":
                self.environment.update(pair.split("=", 1) for pair in shlex.split(value))
            elif name == "USER":
                self.user = value
            elif name == "ENTRYPOINT":
                self.entrypoint = json.loads(value)
            elif name == "HEALTHCHECK":
                self.healthcheck = json.loads(value[value.index("CMD ") + 4 :])
            elif name == "STOPSIGNAL":
                self.stop_signal = signal.Signals[value]
            elif name == "EXPOSE":
                self.port = int(value)
            else:
                expect(name == "LABEL", f"the last stage has {name}, which is not known here")

    def copy(self, source, target):
        path = self.root / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
        self.files.add(target)

    def command(self, arguments):
        """What runs arguments in the image, as process 1 of its own."""
        proc = self.root / "proc"
        return [
            *("unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={proc}"),
            *("chroot", f"--userspec={self.user}", "--groups=", str(self.root)),
            *arguments,
        ]

    def surroundings(self, environment):
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self.environment, **environment}

    def run(self, arguments, environment):
        """Exit code, output and errors of a program that ends by itself."""
        done = subprocess.run(
            self.command(arguments),
            env=self.surroundings(environment),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        return done.returncode, done.stdout, done.stderr


class Container:
    """The image's entry point, running."""

    def __init__(self, image, environment, log):
        self.image, self.log = image, log
        self.process = subprocess.Popen(
            image.command(image.entrypoint),
            env=image.surroundings(environment),
            stderr=open(log, "w"),
        )

    def fail(self, text):
        fail(f"{text}\n{self.log.read_text()}")

    def pid(self):
        pid = self.process.pid
        return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def publish(self, credential):
        connection = http.client.HTTPConnection("127.0.0.1", self.image.port, timeout=DEADLINE)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {credential}"}
        connection.request("POST", "/api/v1/messages", json.dumps(PUBLISHED), headers)
        return connection.getresponse().status

    def wait_for(self, what, condition):
        end = time.monotonic() + DEADLINE
        while not condition():
            if self.process.poll() is not None:
                self.fail("the program has ended")
            if time.monotonic() > end:
                self.fail(f"waited in vain: {what}")
            time.sleep(0.05)

    def stop(self):
        os.kill(self.pid(), self.image.stop_signal)
        return self.process.wait(timeout=DEADLINE)


class Names:
    """A DNS server's answers: these names are at 127.0.0.1."""

    def __init__(self, names):
        self.names = names

    def resolve(self, request, _handler):
        reply = request.reply()
        name = str(request.q.qname).rstrip(".")
        if name not in self.names:
            reply.header.rcode = RCODE.NXDOMAIN
        elif request.q.qtype == QTYPE.A:
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A("127.0.0.1"), ttl=60))
        return reply


def mount_read_only(root):
    for options in (["--bind"], ["-o", "remount,ro,bind"]):
        subprocess.run(["mount", *options, root, root], check=True)


def start_store(directory, authority):
    """A store that speaks TLS alone, on the usual port."""
    certificate = authority.issue_cert("valkey.test")
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "store.pem")
    authority.cert_pem.write_to_path(directory / "authority.pem")
    server = shutil.which("valkey-server") or shutil.which("redis-server")
    arguments = {
        "port": 0,
        "tls-port": 6379,
        "tls-cert-file": "store.pem",
        "tls-key-file": "store.pem",
        "tls-ca-cert-file": "authority.pem",
        "tls-auth-clients": "no",
        "save": "",
    }
    flags = [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
    return subprocess.Popen([server, *flags], cwd=directory, stdout=subprocess.DEVNULL)


def start_key_server(directory, authority):
    """A server of a key set, with TLS; returns its URL and the file of the private key."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / "signing.pem").write_bytes(pem)
    raw = private.public_key().public_bytes_raw()
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    keys = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x}]})

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(keys)))
            self.end_headers()
            self.wfile.write(keys.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("keys.test").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "https://keys.test:8443/keys.json", directory / "signing.pem"


def main():
    dockerfile, program, directory = sys.argv[1:]
    directory = pathlib.Path(directory).absolute()
    shutil.rmtree(directory, ignore_errors=True)
    root = directory / "root"
    root.mkdir(parents=True)
    image = Image(dockerfile, program, root)
    found = {f"/{path.relative_to(root)}" for path in root.rglob("*") if path.is_file()}
    expect(found == image.files == {"/pulsar-proxy", "/etc/ssl/certs/ca-certificates.crt"}, found)
    user, group = image.user.split(":")
    expect(int(user) > 0 and int(group) > 0, "the user is root")

    # What engines add, and an installation's own authority beside the public ones.
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (root / "proc").mkdir()
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    authority = trustme.CA()
    with open(root / "etc/ssl/certs/ca-certificates.crt", "ab") as bundle:
        bundle.write(authority.cert_pem.bytes())
    mount_read_only(root)
    names = Names({"valkey.test", "keys.test"})
    DNSServer(names, address="127.0.0.1", logger=DNSLogger("error")).start_thread()

    code, _, errors = image.run(image.entrypoint, {})
    expect(code == 2 and "credentials" in errors, f"without keys: {code} {errors}")
    print("without keys it refuses to start")

    code, output, errors = image.run([*image.entrypoint, "token", "key", "me"], {})
    expect(code == 0, errors)
    key, keys = re.fullmatch(r"key: +(\S+)\n--api-keys: +(\S+)\n", output).groups()
    url, signing = start_key_server(directory, authority)
    settings = {
        "PULSAR_API_KEYS": keys,
        "PULSAR_JWT_JWKS": url,
        "PULSAR_STORAGE_BACKEND": "valkey",
        "PULSAR_VALKEY_HOST": "valkey.test",
        "PULSAR_VALKEY_USE_TLS": "true",
        # What Kubernetes injects for a service of this name.
        "PULSAR_PORT": "tcp://10.0.0.1:8080",
    }
    code, _, errors = image.run(image.healthcheck, settings)
    expect(code == 1, f"the health check of a server that is not there: {code} {errors}")

    store = start_store(directory, authority)
    container = Container(image, settings, directory / "log")
    try:
        container.wait_for("healthy", lambda: image.run(image.healthcheck, settings)[0] == 0)
        print("healthy, with a store that was found by DNS and trusted by the certificates in the image")
        status = pathlib.Path(f"/proc/{container.pid()}/status").read_text()
        ids = re.findall(r"^[UG]id:\t(\d+)\t\1\t\1\t\1$", status, re.MULTILINE)
        capabilities = re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
        expect(ids == [user, group] and capabilities, f"not only the image's user: {status}")
        expect(container.publish("wrong") == 401, "a wrong key is not refused")
        expect(container.publish(key) == 201, "the key is refused")
        make = [program, "token", "make", "--subject", "me", "--permissions", "write"]
        made = subprocess.run(
            [*make, "--private-key", signing], capture_output=True, text=True, check=True
        )
        token = made.stdout.strip()
        container.wait_for("a token is accepted", lambda: container.publish(token) == 201)
        print("publishes with a key, and with a token whose key was fetched by HTTPS")
        expect(container.stop() == 0, "it does not end well")
        print(f"ends with 0 on {image.stop_signal.name}")
    finally:
        store.kill()
        container.process.kill()


main()
