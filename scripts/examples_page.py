"""Serves a page that runs a JavaScript file, on a free loopback port.

Usage: examples_page.py FILE. Prints the page's address first, then each line that the page logs to its
console or that describes an error in it: the page sends them back here.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"""<!doctype html>
<meta charset="utf-8">
<title>example</title>
<link rel="icon" href="data:,">
<script>
  const report = (line) => fetch('/console', { method: 'POST', body: line });
  const text = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
  console.log = (...values) => report(values.map(text).join(' '));
  window.onerror = (message) => report('Error: ' + message);
</script>
<script src="/client.js"></script>
"""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/client.js":
            self.answer("text/javascript", self.server.script)
        else:
            self.answer("text/html", PAGE)

    def do_POST(self):
        line = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print(line, flush=True)
        self.answer("text/plain", b"")

    def answer(self, content_type, body):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


with open(sys.argv[1], "rb") as file:
    ThreadingHTTPServer.script = file.read()
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://localhost:{server.server_port}/", flush=True)
server.serve_forever()
