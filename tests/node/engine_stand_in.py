"""Stands in for an interpreter with vLLM: a server on a unix socket and a worker below it, which break when told to.

Answers ``/health``, and ``/v1/chat/completions`` with a stream that goes on until the worker is gone; then the stream
breaks off while the server lingers, deaf to SIGTERM, and still answers ``/health`` with 200. A file ``dead`` beside the
socket makes that 503, a file ``abort`` breaks the stream off with nobody harmed. A third process, which is not one that
serves, can be killed without consequences.
"""

from __future__ import annotations

import os
import signal
import socketserver
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

SLEEP = Path("/bin/sleep")
CHUNK = b'data: {"choices": [{"delta": {"content": "word "}}]}\n\n'


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    folder: Path
    worker: subprocess.Popen[bytes]

    def do_GET(self) -> None:
        self.send_response(503 if (self.folder / "dead").exists() else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        while self.worker.poll() is None and not (self.folder / "abort").exists():
            self.wfile.write(CHUNK)
            time.sleep(0.02)

    def log_message(self, *_arguments: object) -> None:
        pass


def main() -> None:
    if sys.argv[1] == "-c":
        sys.stdout.write("0.0\n")
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    socket = sys.argv[sys.argv.index("--uds") + 1]
    prefix = os.environ["VLLM_PROCESS_NAME_PREFIX"]
    Handler.folder = Path(socket).parent
    Handler.worker = subprocess.Popen([f"{prefix}::Worker", "300"], executable=SLEEP)
    subprocess.Popen(["compiler", "300"], executable=SLEEP)
    Server(socket, Handler).serve_forever()


if __name__ == "__main__":
    main()
