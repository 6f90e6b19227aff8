"""A proxy before an S3 server: it keeps a log of the requests, and does to them what networks and servers do.

A request counts by its kind (S3's name of the operation, and the bucket), so that a fault can be told to hit "the third
GetObject of the bucket `lake`"; with a client of one thread that is the same request each time.
"""

import http.client
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

#: What may happen to a request, and whether it takes effect.
FAULTS = {
    "close before": "the connection is closed; no effect",
    "close after": "it takes effect; the connection is closed without an answer",
    "cut upload": "the connection is closed in the middle of the request's body; no effect",
    "cut": "it takes effect; the answer's body breaks off in the middle",
    "stall": "it takes effect; the answer comes after the client's patience has ended",
    "flip": "it takes effect; one bit in the middle of the answer's body is another",
    "503": "SlowDown; no effect",
    "500": "InternalError; no effect",
    "503 in 200": "SlowDown in an answer of status 200; no effect",
    "403": "AccessDenied; no effect",
}
_ANSWERS = {
    "503": (503, "SlowDown"), "500": (500, "InternalError"), "503 in 200": (200, "SlowDown"), "403": (403, "AccessDenied"),
}
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass
class Request:
    method: str
    target: str
    key_id: str = ""  # of the access key that signed it
    token: str | None = None  # of the session that the key is of
    bucket: str = ""
    key: str = ""
    query: dict = field(default_factory=dict)
    number: int = 0  # of its kind, from 1
    status: int | None = None  # of the server's answer, if it was asked
    fault: str | None = None

    def __post_init__(self):
        parts = urlsplit(self.target)
        self.bucket, _, self.key = unquote(parts.path).removeprefix("/").partition("/")
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}

    @property
    def operation(self):
        asked, method = self.query, self.method
        if method == "GET" and "uploads" in asked:
            return "ListMultipartUploads"
        if method == "GET":
            return "GetObject" if self.key else "ListObjectsV2"
        if method == "PUT":
            return "UploadPart" if "partNumber" in asked else "PutObject"
        if method == "POST":
            names = {"uploads": "CreateMultipartUpload", "uploadId": "CompleteMultipartUpload", "delete": "DeleteObjects"}
            return next(name for sign, name in names.items() if sign in asked)
        if method == "DELETE":
            return "AbortMultipartUpload" if "uploadId" in asked else "DeleteObject"
        return "HeadObject"

    @property
    def kind(self):
        return self.operation, self.bucket

    def __str__(self):
        return f"{self.operation} {self.number} {self.bucket}/{self.key or self.query.get('prefix', '')}"


class Proxy:
    """Listens on a port of its own. `fault(request)` names one of `FAULTS`, or is None; it may be set at any time."""

    def __init__(self, upstream_port, patience=5.0):
        self.upstream_port, self.patience = upstream_port, patience
        self.fault = None
        self.log, self._counts, self._lock = [], Counter(), threading.Lock()
        self._in_flight = self.most_in_flight = 0
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = type("Server", (ThreadingHTTPServer,), {"request_queue_size": 256})(("127.0.0.1", 0), handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def take_log(self):
        """What was asked since the last time; counts and faults begin anew."""
        with self._lock:
            taken, self.log = self.log, []
            self._counts.clear()
            self.fault = None
            self.most_in_flight = 0
        return taken

    def enter(self, request):
        with self._lock:
            self._counts[request.kind] += 1
            request.number = self._counts[request.kind]
            self.log.append(request)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            request.fault = self.fault(request) if self.fault else None
        assert request.fault is None or request.fault in FAULTS, request.fault

    def leave(self):
        with self._lock:
            self._in_flight -= 1

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy = None
    upstream = None

    def log_message(self, *arguments):
        pass

    def any(self):
        _, _, scope = self.headers.get("authorization", "").partition("Credential=")
        request = Request(self.command, self.path, scope.split("/")[0], self.headers.get("x-amz-security-token"))
        self.proxy.enter(request)
        try:
            self.serve(request)
        except OSError:  # the client went away
            self.close_connection = True
        finally:
            self.proxy.leave()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = any

    def serve(self, request):
        fault = request.fault
        if fault == "close before":
            return self.hang_up()
        if fault == "cut upload":
            self.rfile.read(int(self.headers.get("content-length", 0)) // 2)
            return self.hang_up()
        body = self.body()
        if fault in _ANSWERS:
            status, code = _ANSWERS[fault]
            text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>proxy</Message></Error>"
            return self.answer(status, [("content-type", "application/xml")], text.encode())
        status, headers, content = self.ask(body)
        request.status = status
        if fault == "stall":
            time.sleep(self.proxy.patience)
        if fault in ("stall", "close after"):
            return self.hang_up()
        if fault == "flip" and content:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        self.answer(status, headers, content, cut=fault == "cut")

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)

    def ask(self, body):
        """The server's answer. Headers pass as they are, the host's name too: signatures stay right."""
        if self.upstream is None:
            self.upstream = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream_port, timeout=30)
        connection = self.upstream
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP and name.lower() != "expect":
                connection.putheader(name, value)
        if body or self.command in ("PUT", "POST"):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        if answer.will_close:
            connection.close()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
        if self.command == "HEAD":
            headers.append(("Content-Length", answer.getheader("content-length", "0")))
        return answer.status, headers, content

    def answer(self, status, headers, content, cut=False):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD" and status != 204:
            self.send_header("Content-Length", str(len(content)))
        if self.command == "HEAD":
            content = b""
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.hang_up()

    def hang_up(self):
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def finish(self):
        if self.upstream is not None:
            self.upstream.close()
        super().finish()
