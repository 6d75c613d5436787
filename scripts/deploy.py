"""Tries with the program what the files of deploy/ and the compose file set; for deploy.sh.

deploy.py PROGRAM STORE
"""

import json
import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile
import time

import yaml

DEADLINE = 20
# In place of what an operator has to fill in.
KEYS = "me:read+write:sha256:" + 64 * "0"
FILLED_IN = {"PULSAR_API_KEYS": KEYS, "GRAFANA_PASSWORD": "secret"}


def fail(text):
    sys.exit(f"deploy.sh: {text}")


def documents(path):
    with open(path) as file:
        return [document for document in yaml.safe_load_all(file) if document]


def read_environment(path):
    """Variables of a file for systemd, also those that are commented out."""
    pairs = re.findall(r"^#?([A-Z_]+)=(.*)$", pathlib.Path(path).read_text(), re.MULTILINE)
    return {name: value or FILLED_IN.get(name, "x") for name, value in pairs}


def interpolated(value):
    """Compose's ${NAME:?…}, with what the operator would have filled in."""
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda match: FILLED_IN[match[1]], value)


class Program:
    def __init__(self, path):
        self.path = path
        told = subprocess.run([path, "--help"], capture_output=True, text=True, check=True).stdout
        text = re.sub(r"\s+", " ", told)
        self.variables = {
            name for names in re.findall(r"\[env: ([^]]*)\]", text) for name in names.split(", ")
        }
        self.flags = set(re.findall(r"--([a-z][a-z-]*)", text))
        self.text = text

    def try_settings(self, origin, environment, flags=()):
        """Starts with these settings, on a port and in a directory of its own, until it listens."""
        unknown = environment.keys() - self.variables
        if unknown:
            fail(f"{origin}: the program knows nothing of {', '.join(sorted(unknown))}")
        with tempfile.TemporaryDirectory() as directory:
            server = subprocess.Popen(
                [self.path, *flags, "--port", "0", "--log-format", "json"],
                env=environment,
                cwd=directory,
                stderr=subprocess.PIPE,
            )
            try:
                self.wait_until_listening(origin, server)
            finally:
                server.kill()
                server.wait()

    def wait_until_listening(self, origin, server):
        told, end = b"", time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if select.select([server.stderr], [], [], 0.1)[0]:
                part = os.read(server.stderr.fileno(), 65536)
                told += part
                if not part:
                    break
                lines = [json.loads(line) for line in told.splitlines() if line.startswith(b"{")]
                if any(line["message"] == "listening" for line in lines):
                    return
        fail(f"{origin}: does not start: {told.decode()}")


def try_compose(program, dockerfile_environment):
    services = documents("docker-compose.yml")[0]["services"]
    environment = services["proxy"]["environment"]
    environment = {name: interpolated(value) for name, value in environment.items()}
    if environment["PULSAR_VALKEY_HOST"] not in services:
        fail("docker-compose.yml: the proxy looks for another Valkey")
    program.try_settings("docker-compose.yml", {**dockerfile_environment, **environment})
    grace = services["proxy"]["stop_grace_period"]
    check_patience("docker-compose.yml", program, grace, {})
    # The target of Prometheus and the datasource of Grafana are services, too.
    targets = documents("deploy/prometheus/prometheus.yml")[0]["scrape_configs"][0]
    if targets["static_configs"][0]["targets"] != ["proxy:8080"]:
        fail("deploy/prometheus/prometheus.yml: scrapes another service")
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not pathlib.Path(source).exists():
                fail(f"docker-compose.yml: {name} mounts {source}, which is not there")
    example = read_environment(".env.example")
    text = pathlib.Path("docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    if asked != example.keys():
        fail(f".env.example has {sorted(example)}, docker-compose.yml asks for {sorted(asked)}")
    if re.search(r"^\w+=.", pathlib.Path(".env.example").read_text(), re.MULTILINE):
        fail(".env.example has a value: people would keep it")
    return [text for text in services["valkey"]["command"][1:]]


def try_kubernetes(program):
    folder = pathlib.Path("deploy/kubernetes")
    resources = set(documents(folder / "kustomization.yaml")[0]["resources"])
    found = {path.name for path in folder.glob("*.yaml") if not path.name.endswith(".example.yaml")}
    if resources != found - {"kustomization.yaml"}:
        fail(f"kustomization.yaml: {sorted(resources ^ found)}")
    all_of = {
        (document["kind"], document["metadata"]["name"]): document
        for path in folder.glob("*.yaml")
        for document in documents(path)
        if document["kind"] != "Kustomization"
    }
    pod = all_of["Deployment", "pulsar-proxy"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    settings = all_of["ConfigMap", "pulsar-proxy"]["data"]["config.toml"]
    secret = all_of["Secret", "pulsar-proxy-environment"]["stringData"]
    keys = all_of["Secret", "pulsar-proxy-keys"]["stringData"]["api-keys.toml"]
    environment = {item["name"]: item.get("value", "1") for item in container["env"]} | secret
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        (directory / "api-keys.toml").write_text(keys)
        # The example alone must not let anybody in.
        flags = ["--api-keys-file", str(directory / "api-keys.toml"), "--port", "0"]
        refused = subprocess.run([program.path, *flags], capture_output=True, timeout=DEADLINE)
        if refused.returncode != 2:
            fail("secrets.example.yaml: its key is taken as it is")
        (directory / "api-keys.toml").write_text(keys.replace("HASH", 64 * "0"))
        settings = settings.replace(paths["keys"], str(directory))
        (directory / "config.toml").write_text(settings)
        flags = [flag.replace(paths["config"], str(directory)) for flag in container["args"]]
        program.try_settings("deploy/kubernetes", environment, flags)
    # What is commented out must be known as well.
    for name in re.findall(r"^\s*#?(\w+) = ", settings, re.MULTILINE):
        if name.replace("_", "-") not in program.flags:
            fail(f"deploy/kubernetes/config.yaml: the program knows nothing of {name}")
    grace = f"{pod['terminationGracePeriodSeconds']}s"
    set_here = dict(re.findall(r'^(\w+) = "(\w+)"', settings, re.MULTILINE))
    check_patience("deploy/kubernetes", program, grace, set_here)
    return all_of["ConfigMap", "valkey"]["data"]["valkey.conf"]


def check_patience(origin, program, grace, settings):
    """Whoever stops the server must wait for longer than it may take."""

    def seconds(name):
        default = re.search(rf"--{name} .*?\[default: (\d+)s", program.text)[1]
        return int(settings.get(name.replace("-", "_"), default).rstrip("s"))

    needed = seconds("drain-delay") + seconds("drain-timeout") + 5
    if int(grace.rstrip("s")) <= needed:
        fail(f"{origin}: {grace} to stop are too few for {needed} s")


def try_store(store, origin, arguments):
    """Starts a store with these arguments, until it says so."""
    with tempfile.TemporaryDirectory() as directory:
        where = ["--port", "0", "--unixsocket", f"{directory}/socket", "--dir", directory]
        server = subprocess.Popen([store, *arguments, *where], stdout=subprocess.PIPE, text=True)
        try:
            told = ""
            for line in server.stdout:
                told += line
                if "eady to accept connections" in line:
                    return
            fail(f"{origin}: Valkey does not start: {told}")
        finally:
            server.kill()
            server.wait()


def main():
    path, store = sys.argv[1:]
    program = Program(path)
    text = pathlib.Path("Dockerfile").read_text()
    image = dict(re.findall(r"^ENV (\w+)=(\S+)$", text, re.MULTILINE))
    compose_store = try_compose(program, image)
    try_store(store, "docker-compose.yml", compose_store)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(try_kubernetes(program).replace("dir /data", ""))
        file.flush()
        try_store(store, "deploy/kubernetes/valkey.yaml", [file.name])
    unit = pathlib.Path("deploy/systemd/pulsar-proxy.service").read_text()
    environment = read_environment("deploy/systemd/pulsar-proxy.env")
    program.try_settings("deploy/systemd", environment)
    grace = re.search(r"^TimeoutStopSec=(\w+)$", unit, re.MULTILINE)[1]
    check_patience("deploy/systemd", program, grace, {})


main()
