#!/usr/bin/env python3
"""The S3 door as MinIO's client for Python sees it. Environment as of s3_boto3.py."""

import datetime
import io
import os
import urllib.parse
import urllib.request

from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.versioningconfig import ENABLED, VersioningConfig

MIB = 1 << 20
PART = 5 * MIB


def client():
    endpoint = urllib.parse.urlparse(os.environ["S3_ENDPOINT"])
    return Minio(
        endpoint.netloc,
        access_key=os.environ["S3_ACCESS_KEY"],
        secret_key=os.environ["S3_SECRET_KEY"],
        region=os.environ["S3_REGION"],
        secure=endpoint.scheme == "https",
    )


def put(s3, bucket, key, body, **named):
    return s3.put_object(bucket, key, io.BytesIO(body), len(body), **named)


def get(s3, bucket, key, **named):
    answer = s3.get_object(bucket, key, **named)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def refused(code, call, *args, **named):
    try:
        call(*args, **named)
    except S3Error as error:
        assert error.code == code, f"{error.code} instead of {code}"
    else:
        raise AssertionError(f"was not refused with {code}")


def objects(s3, bucket):
    put(s3, bucket, "a/b c+ü.txt", b"hello", content_type="text/plain", metadata={"colour": "blue"})
    stat = s3.stat_object(bucket, "a/b c+ü.txt")
    assert (stat.size, stat.content_type, stat.metadata["x-amz-meta-colour"]) == (5, "text/plain", "blue")
    assert get(s3, bucket, "a/b c+ü.txt", offset=1, length=3) == b"ell"
    refused("NoSuchKey", s3.get_object, bucket, "nothing")
    refused("NoSuchBucket", s3.get_object, "no-such-bucket-here", "k")


def multipart(s3, bucket):
    body = os.urandom(PART + MIB)
    known = put(s3, bucket, "known", body, part_size=PART)
    unknown = s3.put_object(bucket, "unknown", io.BytesIO(body), -1, part_size=PART)
    assert known.etag == unknown.etag and known.etag.endswith("-2")
    assert get(s3, bucket, "unknown") == body
    copied = s3.copy_object(bucket, "copy", CopySource(bucket, "known"))
    assert get(s3, bucket, "copy") == body and copied.object_name == "copy"


def listing(s3, bucket):
    names = [f"list/{n:02}/x" for n in range(12)] + ["list/top"]
    for name in names:
        put(s3, bucket, name, b"")
    found = [o.object_name for o in s3.list_objects(bucket, prefix="list/", recursive=True)]
    assert found == sorted(names)
    # The client gives the prefixes of a page behind its objects.
    level = {(o.object_name, o.is_dir) for o in s3.list_objects(bucket, prefix="list/")}
    assert level == {(f"list/{n:02}/", True) for n in range(12)} | {("list/top", False)}
    errors = list(s3.remove_objects(bucket, [DeleteObject(name) for name in names]))
    assert not errors and not list(s3.list_objects(bucket, prefix="list/"))


def presigned(s3, bucket):
    life = datetime.timedelta(minutes=5)
    request = urllib.request.Request(s3.presigned_put_object(bucket, "signed", life), data=b"by URL", method="PUT")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(s3.presigned_get_object(bucket, "signed", life)) as answer:
        assert answer.read() == b"by URL"


def versions(s3, bucket):
    s3.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    first = put(s3, bucket, "v", b"one").version_id
    second = put(s3, bucket, "v", b"two").version_id
    assert get(s3, bucket, "v", version_id=first) == b"one" and get(s3, bucket, "v") == b"two"
    s3.remove_object(bucket, "v", version_id=second)
    assert get(s3, bucket, "v") == b"one"


def clear(s3, bucket):
    for o in list(s3.list_objects(bucket, recursive=True, include_version=True)):
        s3.remove_object(bucket, o.object_name, version_id=o.version_id)
    s3.remove_bucket(bucket)
    assert not s3.bucket_exists(bucket)


def main():
    s3, bucket = client(), "by-minio-py"
    s3.make_bucket(bucket)
    assert s3.bucket_exists(bucket) and bucket in [b.name for b in s3.list_buckets()]
    for case in (objects, multipart, listing, presigned, versions):
        case(s3, bucket)
        print(f"ok {case.__name__}")
    clear(s3, bucket)


if __name__ == "__main__":
    main()
