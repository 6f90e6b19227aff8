"""A PostgreSQL of Debian's, in a folder of its own, without a service; removed in the end."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

PASSWORD = "hu/sh@hush:1%"  # percent-encoded in URLs, plain for JDBC


def programs():
    """The folder of initdb and postgres, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    plain = shutil.which("initdb")
    return Path(plain).resolve().parent if plain else None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server on 127.0.0.1 that asks everyone for a password. The superuser is `boss`, with the same password as others."""

    def __init__(self):
        self.bin = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="ddb-interop-postgres-"))
        self.data = self.folder / "data"
        self.port = free_port()
        # PostgreSQL refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            entry = pwd.getpwnam(self.user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        password = self.folder / "password"
        password.write_text(PASSWORD + "\n")
        password.chmod(0o644)
        self._run(
            self.bin / "initdb", "--pgdata", self.data, "--username=boss", f"--pwfile={password}", "--auth=scram-sha-256",
            "--encoding=UTF8", "--locale=C", "--no-sync",
        )
        self.process = None
        self.start()

    def _options(self):
        return {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}

    def _run(self, *command):
        subprocess.run([str(part) for part in command], check=True, cwd=self.folder, capture_output=True, **self._options())

    def start(self):
        command = [
            self.bin / "postgres", "-D", self.data, "-p", self.port, "-k", self.folder, "-c", "listen_addresses=127.0.0.1",
            "-c", "max_connections=60",
        ]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._options()
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.query("select 1")
                return
            except Exception:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.1)

    def stop(self, how=signal.SIGINT):
        """SIGINT: disconnects everyone. SIGQUIT: as if the power went."""
        self.process.send_signal(how)
        self.process.wait(60)

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database="postgres", user="boss"):
        import psycopg2

        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=user, password=PASSWORD, dbname=database)
        connection.autocommit = True
        return connection

    def query(self, statement, *values, database="postgres"):
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def uri(self, database, user="boss", password=PASSWORD, driver=""):
        return f"postgresql{driver}://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"
