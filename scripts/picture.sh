#!/usr/bin/env bash
# Runs `pulsar-proxy bench all` and draws what it prints as docs/bench.svg, the picture in the README; with its machine
# and day. To be run on a machine that does nothing else.

source "$(dirname "$0")/lib.sh"

python_environment picture rich==15.0.0
program=$(server_program)
"$program" bench all >"$work/bench.txt" || fail "the run is not as it should be: $(cat "$work/bench.txt")"
"$python" - "$work/bench.txt" docs/bench.svg <<'PYTHON'
import io
import re
import sys

from rich.console import Console
from rich.text import Text

lines = ["$ pulsar-proxy bench all", *open(sys.argv[1]).read().rstrip().splitlines()]
console = Console(record=True, width=max(map(len, lines)) + 1, file=io.StringIO())
for line in lines:
    is_heading = line[:1].strip()
    console.print(Text(line, style="bold" if is_heading else ""), soft_wrap=True)
picture = console.export_svg(title="pulsar-proxy", unique_id="bench")
# The fonts would come from another host.
picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.S)
picture = picture.replace("Fira Code", "DejaVu Sans Mono")
picture = "\n".join(line.rstrip() for line in picture.splitlines() if line.strip()) + "\n"
open(sys.argv[2], "w").write(picture)
PYTHON
cat "$work/bench.txt"
