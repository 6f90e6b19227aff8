"""An S3 server (moto, a process of its own) behind our proxy, and a warehouse and exports that lie there."""

import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import exports
from proxy import Proxy
from readers import Warehouse
from story import Story

EXPORTS, LAKE = "exports-bucket", "lake"
REGION = "eu-north-1"
KEY_ID, SECRET = "AKIDINTEROP", "interop-secret"


class Server:
    """moto; its log goes to a file."""

    def __init__(self, log):
        import boto3
        from botocore.config import Config

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = open(log, "wb")
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        for _ in range(600):
            assert self.process.poll() is None, f"moto has ended: see {log}"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.1)
        self.client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name=REGION, aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET, config=Config(s3={"addressing_style": "path"}, proxies={}),
        )
        for name in (EXPORTS, LAKE):
            self.client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
            # Every write leaves a version: an overwritten object shows.
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        self.proxy = Proxy(self.port)

    def put(self, key, content, bucket=EXPORTS):
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def get(self, location):
        bucket, _, key = location.removeprefix("s3://").partition("/")
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def keys(self, bucket, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def overwritten(self, bucket, prefix=""):
        """Keys that were written more than once."""
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
        written = Counter(one["Key"] for page in pages for one in page.get("Versions", []))
        return [key for key, times in written.items() if times > 1]

    def uploads(self):
        """Keys whose multipart upload is neither completed nor aborted."""
        found = [self.client.list_multipart_uploads(Bucket=name).get("Uploads", []) for name in (EXPORTS, LAKE)]
        return [one["Key"] for uploads in found for one in uploads]

    def abort_uploads(self):
        for name in (EXPORTS, LAKE):
            for one in self.client.list_multipart_uploads(Bucket=name).get("Uploads", []):
                self.client.abort_multipart_upload(Bucket=name, Key=one["Key"], UploadId=one["UploadId"])

    def close(self):
        self.proxy.close()
        # It keeps everything in memory: there is nothing to end well, and it may wait for connections that stay open.
        self.process.kill()
        self.process.wait()
        self.log.close()


class S3Warehouse(Warehouse):
    """A warehouse on S3; the catalog's file stays local. The program's requests go through the proxy, the readers' do not."""

    scheme = "s3://"

    def __init__(self, server, folder, prefix, properties=()):
        super().__init__(folder)
        self.folder.mkdir(parents=True)
        self.server, self.prefix = server, prefix
        self.more = dict(properties)

    @property
    def uri(self):
        return f"s3://{LAKE}/{self.prefix}"

    def s3(self, endpoint):
        return {"s3.endpoint": endpoint, "s3.region": REGION, "s3.access-key-id": KEY_ID, "s3.secret-access-key": SECRET}

    @property
    def properties(self):
        return self.s3(f"http://127.0.0.1:{self.server.port}")

    @property
    def arguments(self):
        given = {"uri": f"sqlite:///{self.database}", **self.s3(self.server.proxy.endpoint), **self.more}
        options = [part for name, value in given.items() for part in ("--catalog-property", f"{name}={value}")]
        return ["--warehouse", self.uri, *options]

    def read(self, location):
        return self.server.get(location)


class S3Story(Story):
    """A story whose exports lie on S3."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.bucket.prefix = f"{self.warehouse.prefix}/copied here"
        self.uploaded = set()

    def place(self, folder):
        """Uploads what is new in the bucket's local folder, and says where the export is."""
        for path in sorted(self.bucket.root.rglob("*")):
            key = path.relative_to(self.bucket.root).as_posix()
            if path.is_file() and key not in self.uploaded:
                self.warehouse.server.put(key, path.read_bytes())
                self.uploaded.add(key)
        return f"s3://{EXPORTS}/{Path(folder).relative_to(self.bucket.root).as_posix()}"

    def keys_of(self, folder):
        """The keys of an export's objects: its manifests, and what they list."""
        home = Path(folder).relative_to(self.bucket.root).as_posix()
        stems, ends = ("manifest-summary", "manifest-files"), (".json", ".md5", ".checksum")
        return {f"{home}/{stem}{end}" for stem in stems for end in ends} | {one["dataFileS3Key"] for one in exports.files(folder)}
