#!/usr/bin/env python3
"""The S3 door as s3cmd sees it. Environment as of s3_boto3.py; s3cmd is found by PATH."""

import os
import pathlib
import subprocess
import tempfile
import urllib.parse

BUCKET = "s3://by-s3cmd"


def configuration(directory):
    endpoint = urllib.parse.urlparse(os.environ["S3_ENDPOINT"])
    path = directory / "s3cfg"
    path.touch(mode=0o600)
    path.write_text(
        "[default]\n"
        f"access_key = {os.environ['S3_ACCESS_KEY']}\n"
        f"secret_key = {os.environ['S3_SECRET_KEY']}\n"
        f"host_base = {endpoint.netloc}\n"
        f"host_bucket = {endpoint.netloc}\n"
        f"bucket_location = {os.environ['S3_REGION']}\n"
        f"use_https = {endpoint.scheme == 'https'}\n"
        f"ca_certs_file = {os.environ.get('AWS_CA_BUNDLE', '')}\n"
    )
    return path


def main():
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        config = configuration(scratch)

        def s3cmd(*arguments, status=0):
            command = ["s3cmd", "--config", config, "--no-progress", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
            return done.stdout

        s3cmd("mb", BUCKET)
        assert BUCKET in s3cmd("ls")
        tree = scratch / "tree"
        (tree / "deep").mkdir(parents=True)
        for name, length in (("a b+ü", 5), ("deep/empty", 0), ("deep/large", 17 << 20)):
            (tree / name).write_bytes(os.urandom(length))
        s3cmd("sync", "--multipart-chunk-size-mb=5", f"{tree}/", f"{BUCKET}/tree/")
        # A second time there is nothing to do.
        assert "upload:" not in s3cmd("sync", "--multipart-chunk-size-mb=5", f"{tree}/", f"{BUCKET}/tree/")
        listed = s3cmd("ls", "--recursive", f"{BUCKET}/tree/")
        assert len(listed.splitlines()) == 3 and "deep/large" in listed
        back = scratch / "back"
        back.mkdir()
        s3cmd("sync", f"{BUCKET}/tree/", f"{back}/")
        for path in tree.rglob("*"):
            twin = back / path.relative_to(tree)
            assert twin.is_dir() if path.is_dir() else twin.read_bytes() == path.read_bytes(), path
        s3cmd("cp", f"{BUCKET}/tree/a b+ü", f"{BUCKET}/copy")
        s3cmd("mv", f"{BUCKET}/copy", f"{BUCKET}/moved")
        assert "MD5 sum" in s3cmd("info", f"{BUCKET}/moved")
        assert "5" in s3cmd("du", f"{BUCKET}/moved")
        # Not there: s3cmd's own status for it.
        s3cmd("info", f"{BUCKET}/copy", status=12)
        s3cmd("rm", "--recursive", "--force", BUCKET)
        s3cmd("rb", BUCKET)
        assert BUCKET not in s3cmd("ls")
    print("ok s3cmd")


if __name__ == "__main__":
    main()
