#!/usr/bin/env python3
"""The S3 door as boto3 sees it.

Reads S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY and S3_REGION from the environment, works in buckets
of its own, removes them, and prints one line of JSON: how many cases passed and which failed. Exits
with 1 when a case failed. A pattern as argument runs only the cases whose names contain it.
"""

import base64
import concurrent.futures
import hashlib
import io
import json
import os
import sys
import time
import traceback
import urllib.error
import urllib.request
import uuid
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["S3_ENDPOINT"]
ACCESS = os.environ["S3_ACCESS_KEY"]
SECRET = os.environ["S3_SECRET_KEY"]
REGION = os.environ.get("S3_REGION", "us-east-1")
MIB = 1 << 20
CASES = []


def case(function):
    CASES.append(function)
    return function


def client(access=ACCESS, secret=SECRET, region=REGION, **config):
    config.setdefault("s3", {"addressing_style": "path"})
    config.setdefault("retries", {"max_attempts": 1})
    return boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name=region,
        config=Config(read_timeout=120, **config),
    )


def code_of(call, *args, **kwargs):
    """The error code a call ends with, or None when it succeeds."""
    try:
        call(*args, **kwargs)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


def refused(code, status, call, *args, **kwargs):
    got = code_of(call, *args, **kwargs)
    assert got == (code, status), f"expected {code} {status}, got {got}"


def content(seed, size):
    out = bytearray()
    counter = 0
    while len(out) < size:
        out += hashlib.sha256(f"{seed}:{counter}".encode()).digest()
        counter += 1
    return bytes(out[:size])


class Bucket:
    """A bucket of its own for one case, emptied and removed afterwards."""

    def __init__(self, s3):
        self.s3 = s3
        self.name = f"boto3-{uuid.uuid4().hex[:20]}"

    def __enter__(self):
        self.s3.create_bucket(Bucket=self.name)
        return self.name

    def __exit__(self, *_):
        for page in self.s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.name):
            for upload in page.get("Uploads", []):
                self.s3.abort_multipart_upload(Bucket=self.name, Key=upload["Key"], UploadId=upload["UploadId"])
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=self.name):
            found = page.get("Versions", []) + page.get("DeleteMarkers", [])
            keys = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in found]
            if keys:
                answer = self.s3.delete_objects(Bucket=self.name, Delete={"Objects": keys})
                assert not answer.get("Errors"), answer["Errors"]
        self.s3.delete_bucket(Bucket=self.name)


@case
def buckets(s3):
    with Bucket(s3) as b:
        assert b in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
        head = s3.head_bucket(Bucket=b)
        assert head["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == REGION
        expected = None if REGION == "us-east-1" else REGION
        assert s3.get_bucket_location(Bucket=b)["LocationConstraint"] == expected
        s3.put_object(Bucket=b, Key="k", Body=b"x")
        if REGION == "us-east-1":
            s3.create_bucket(Bucket=b)
            s3.head_object(Bucket=b, Key="k")
        else:
            refused("BucketAlreadyOwnedByYou", 409, s3.create_bucket, Bucket=b)
        refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=b)
    refused("404", 404, s3.head_bucket, Bucket=b)
    refused("NoSuchBucket", 404, s3.list_objects_v2, Bucket=b)
    refused("NoSuchBucket", 404, s3.delete_bucket, Bucket=b)


@case
def put_get_head(s3):
    with Bucket(s3) as b:
        for size in (0, 1, 4096, 300_000, 3 * MIB + 17):
            body = content(size, size)
            put = s3.put_object(
                Bucket=b, Key=f"size/{size}", Body=body, ContentType="text/x-test", CacheControl="max-age=5",
                ContentDisposition="attachment", ContentLanguage="de", Metadata={"colour": "blue", "mtime": "1600000000.5"},
            )
            assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
            get = s3.get_object(Bucket=b, Key=f"size/{size}")
            assert get["Body"].read() == body
            head = s3.head_object(Bucket=b, Key=f"size/{size}")
            for answer in (get, head):
                assert answer["ContentLength"] == size
                assert answer["ETag"] == put["ETag"]
                assert answer["ContentType"] == "text/x-test"
                assert answer["CacheControl"] == "max-age=5"
                assert answer["ContentDisposition"] == "attachment"
                assert answer["ContentLanguage"] == "de"
                assert answer["Metadata"]["colour"] == "blue"
                assert float(answer["Metadata"]["mtime"]) == 1600000000.5
                assert abs(answer["LastModified"].timestamp() - time.time()) < 3600
        refused("NoSuchKey", 404, s3.get_object, Bucket=b, Key="none")
        refused("404", 404, s3.head_object, Bucket=b, Key="none")
        s3.put_object(Bucket=b, Key="plain", Body=b"x")
        plain = s3.head_object(Bucket=b, Key="plain")
        assert plain["ContentType"] == "binary/octet-stream" and plain["Metadata"] == {}


@case
def streamed_bodies(s3):
    with Bucket(s3) as b:
        body = content(1, 2 * MIB)
        s3.put_object(Bucket=b, Key="stream", Body=io.BytesIO(body))
        assert s3.get_object(Bucket=b, Key="stream")["Body"].read() == body
        chunks = list(s3.get_object(Bucket=b, Key="stream")["Body"].iter_chunks(100_000))
        assert b"".join(chunks) == body


@case
def ranges(s3):
    with Bucket(s3) as b:
        body = content(2, 700_000)
        s3.put_object(Bucket=b, Key="k", Body=body)
        for text, want in [
            ("bytes=0-0", body[:1]), ("bytes=262143-262144", body[262143:262145]), ("bytes=699999-", body[-1:]),
            ("bytes=-10", body[-10:]), ("bytes=100-9999999", body[100:]),
        ]:
            got = s3.get_object(Bucket=b, Key="k", Range=text)
            assert got["Body"].read() == want, text
            assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        refused("InvalidRange", 416, s3.get_object, Bucket=b, Key="k", Range="bytes=700000-")


@case
def keys_are_opaque(s3):
    keys = [
        "a", "a/", "a/b", "a//b", "/lead", "a/b/", "sp ace", "plus+", "per%cent", "q?x=1&y", "h#ash", "ünï/côdé",
        "quote'\"", "<xml>&amp;", "tilde~", "dot/./x", "..", "dot/../x", "back\\slash", ".cess~empty", "emoji/😀", "k" * 1024, "d/" * 500 + "x",
    ]
    with Bucket(s3) as b:
        for key in keys:
            s3.put_object(Bucket=b, Key=key, Body=key.encode())
        for key in keys:
            assert s3.get_object(Bucket=b, Key=key)["Body"].read() == key.encode(), key
        listed = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=b) for o in p["Contents"]]
        assert listed == sorted(keys, key=lambda k: k.encode()), listed
        refused("KeyTooLongError", 400, s3.put_object, Bucket=b, Key="k" * 1025, Body=b"")


@case
def listings(s3):
    with Bucket(s3) as b:
        keys = [f"{d}/{i:03}" for d in ("a", "b", "c/d") for i in range(40)] + ["top", "z/"]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: s3.put_object(Bucket=b, Key=key, Body=key.encode()), keys))
        keys.sort()
        for operation in ("list_objects", "list_objects_v2", "list_object_versions"):
            field = "Versions" if operation == "list_object_versions" else "Contents"
            for size in (7, 1000):
                pages = s3.get_paginator(operation).paginate(Bucket=b, PaginationConfig={"PageSize": size})
                assert [o["Key"] for p in pages for o in p.get(field, [])] == keys, (operation, size)
            pages = list(s3.get_paginator(operation).paginate(Bucket=b, Delimiter="/", PaginationConfig={"PageSize": 2}))
            assert [o["Key"] for p in pages for o in p.get(field, [])] == ["top"], operation
            prefixes = [c["Prefix"] for p in pages for c in p.get("CommonPrefixes", [])]
            assert prefixes == ["a/", "b/", "c/", "z/"], (operation, prefixes)
        page = s3.list_objects_v2(Bucket=b, Prefix="c/", StartAfter="c/d/010", MaxKeys=5, FetchOwner=True)
        assert [o["Key"] for o in page["Contents"]] == [f"c/d/{i:03}" for i in range(11, 16)]
        assert page["KeyCount"] == 5 and page["IsTruncated"] and page["Contents"][0]["Owner"]["ID"]
        assert s3.list_objects_v2(Bucket=b, MaxKeys=0)["KeyCount"] == 0
        refused("InvalidArgument", 400, s3.list_objects_v2, Bucket=b, ContinuationToken="!")


@case
def deletes(s3):
    with Bucket(s3) as b:
        for i in range(30):
            s3.put_object(Bucket=b, Key=f"k/{i}", Body=b"x")
        s3.delete_object(Bucket=b, Key="k/0")
        s3.delete_object(Bucket=b, Key="k/0")
        refused("NoSuchKey", 404, s3.get_object, Bucket=b, Key="k/0")
        answer = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": f"k/{i}"} for i in range(20)]})
        assert len(answer["Deleted"]) == 20 and "Errors" not in answer
        answer = s3.delete_objects(Bucket=b, Delete={"Quiet": True, "Objects": [{"Key": f"k/{i}"} for i in range(20, 30)]})
        assert "Deleted" not in answer and "Errors" not in answer
        assert s3.list_objects_v2(Bucket=b)["KeyCount"] == 0


@case
def copies(s3):
    with Bucket(s3) as b, Bucket(s3) as other:
        body = content(3, 400_000)
        put = s3.put_object(Bucket=b, Key="from ü", Body=body, Metadata={"a": "1"}, ContentType="text/x")
        for target in (b, other):
            copy = s3.copy_object(Bucket=target, Key="to", CopySource={"Bucket": b, "Key": "from ü"})
            assert copy["CopyObjectResult"]["ETag"] == put["ETag"]
            got = s3.get_object(Bucket=target, Key="to")
            assert got["Body"].read() == body and got["Metadata"] == {"a": "1"} and got["ContentType"] == "text/x"
        s3.copy_object(Bucket=b, Key="to", CopySource={"Bucket": b, "Key": "to"}, MetadataDirective="REPLACE", Metadata={"b": "2"})
        got = s3.get_object(Bucket=b, Key="to")
        assert got["Body"].read() == body and got["Metadata"] == {"b": "2"}
        refused("InvalidRequest", 400, s3.copy_object, Bucket=b, Key="to", CopySource={"Bucket": b, "Key": "to"})
        refused("NoSuchKey", 404, s3.copy_object, Bucket=b, Key="x", CopySource={"Bucket": b, "Key": "none"})
        refused(
            "PreconditionFailed", 412, s3.copy_object, Bucket=b, Key="x",
            CopySource={"Bucket": b, "Key": "to"}, CopySourceIfMatch='"no"',
        )


@case
def conditions(s3):
    with Bucket(s3) as b:
        etag = s3.put_object(Bucket=b, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
        refused("PreconditionFailed", 412, s3.put_object, Bucket=b, Key="k", Body=b"2", IfNoneMatch="*")
        newer = s3.put_object(Bucket=b, Key="k", Body=b"3", IfMatch=etag)["ETag"]
        refused("PreconditionFailed", 412, s3.put_object, Bucket=b, Key="k", Body=b"4", IfMatch=etag)
        refused("NoSuchKey", 404, s3.put_object, Bucket=b, Key="none", Body=b"4", IfMatch=etag)
        assert s3.get_object(Bucket=b, Key="k", IfMatch=newer)["Body"].read() == b"3"
        refused("304", 304, s3.get_object, Bucket=b, Key="k", IfNoneMatch=newer)
        refused("PreconditionFailed", 412, s3.get_object, Bucket=b, Key="k", IfMatch=etag)
        refused("304", 304, s3.head_object, Bucket=b, Key="k", IfModifiedSince="Fri, 01 Jan 2100 00:00:00 GMT")
        refused("PreconditionFailed", 412, s3.delete_object, Bucket=b, Key="k", IfMatch=etag)
        s3.delete_object(Bucket=b, Key="k", IfMatch=newer)


@case
def checksums(s3):
    with Bucket(s3) as b:
        body = content(4, 200_000)
        for algorithm in ("CRC32", "SHA1", "SHA256"):
            put = s3.put_object(Bucket=b, Key=algorithm, Body=body, ChecksumAlgorithm=algorithm)
            head = s3.head_object(Bucket=b, Key=algorithm, ChecksumMode="ENABLED")
            field = f"Checksum{algorithm}"
            assert put[field] == head[field] and head["ChecksumType"] == "FULL_OBJECT"
            attributes = s3.get_object_attributes(Bucket=b, Key=algorithm, ObjectAttributes=["Checksum", "ObjectSize", "ETag"])
            assert attributes["Checksum"][field] == put[field] and attributes["ObjectSize"] == len(body)
            assert attributes["ETag"] == put["ETag"].strip('"')
            assert s3.get_object(Bucket=b, Key=algorithm)["Body"].read() == body
        assert head["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
        crc = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        s3.put_object(Bucket=b, Key="right", Body=body, ChecksumCRC32=crc)
        refused("BadDigest", 400, s3.put_object, Bucket=b, Key="wrong", Body=body + b"x", ChecksumCRC32=crc)
        md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
        refused("BadDigest", 400, s3.put_object, Bucket=b, Key="wrong", Body=body, ContentMD5=md5)
        refused("404", 404, s3.head_object, Bucket=b, Key="wrong")


@case
def multipart(s3):
    with Bucket(s3) as b:
        parts = [content(5, 5 * MIB), content(6, 5 * MIB), content(7, 12345)]
        upload = s3.create_multipart_upload(Bucket=b, Key="k", Metadata={"a": "1"})["UploadId"]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            etags = list(pool.map(
                lambda n: s3.upload_part(Bucket=b, Key="k", UploadId=upload, PartNumber=n, Body=parts[n - 1])["ETag"], (1, 2, 3)
            ))
        listed = s3.list_parts(Bucket=b, Key="k", UploadId=upload)
        assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in listed["Parts"]] == [
            (n, len(parts[n - 1]), etags[n - 1]) for n in (1, 2, 3)
        ]
        assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=b)["Uploads"]] == [upload]
        named = [{"PartNumber": n, "ETag": etags[n - 1]} for n in (1, 2, 3)]
        finish = lambda chosen: s3.complete_multipart_upload(Bucket=b, Key="k", UploadId=upload, MultipartUpload={"Parts": chosen})
        refused("InvalidPartOrder", 400, finish, named[::-1])
        refused("InvalidPart", 400, finish, [{"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}])
        done = finish(named)
        digest = hashlib.md5(b"".join(bytes.fromhex(etag.strip('"')) for etag in etags)).hexdigest()
        assert done["ETag"] == f'"{digest}-3"'
        assert finish(named)["ETag"] == done["ETag"]
        got = s3.get_object(Bucket=b, Key="k")
        assert got["Body"].read() == b"".join(parts) and got["Metadata"] == {"a": "1"}
        part = s3.get_object(Bucket=b, Key="k", PartNumber=3)
        assert part["Body"].read() == parts[2] and part["PartsCount"] == 3

        upload = s3.create_multipart_upload(Bucket=b, Key="copy")["UploadId"]
        source = {"Bucket": b, "Key": "k"}
        one = s3.upload_part_copy(Bucket=b, Key="copy", UploadId=upload, PartNumber=1, CopySource=source,
                                  CopySourceRange=f"bytes=1-{5 * MIB}")["CopyPartResult"]["ETag"]
        two = s3.upload_part(Bucket=b, Key="copy", UploadId=upload, PartNumber=2, Body=b"tail")["ETag"]
        s3.complete_multipart_upload(Bucket=b, Key="copy", UploadId=upload, MultipartUpload={
            "Parts": [{"PartNumber": 1, "ETag": one}, {"PartNumber": 2, "ETag": two}]})
        assert s3.get_object(Bucket=b, Key="copy")["Body"].read() == b"".join(parts)[1:5 * MIB + 1] + b"tail"

        upload = s3.create_multipart_upload(Bucket=b, Key="gone")["UploadId"]
        s3.upload_part(Bucket=b, Key="gone", UploadId=upload, PartNumber=1, Body=b"x")
        small = s3.upload_part(Bucket=b, Key="gone", UploadId=upload, PartNumber=2, Body=b"y")["ETag"]
        first = s3.list_parts(Bucket=b, Key="gone", UploadId=upload)["Parts"][0]["ETag"]
        refused("EntityTooSmall", 400, s3.complete_multipart_upload, Bucket=b, Key="gone", UploadId=upload, MultipartUpload={
            "Parts": [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": small}]})
        s3.abort_multipart_upload(Bucket=b, Key="gone", UploadId=upload)
        refused("NoSuchUpload", 404, s3.list_parts, Bucket=b, Key="gone", UploadId=upload)


@case
def transfers(s3):
    with Bucket(s3) as b:
        body = content(8, 21 * MIB + 5)
        config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=6 * MIB, max_concurrency=4)
        s3.upload_fileobj(io.BytesIO(body), b, "big", Config=config, ExtraArgs={"ContentType": "x/y"})
        got = io.BytesIO()
        s3.download_fileobj(b, "big", got, Config=config)
        assert got.getvalue() == body
        head = s3.head_object(Bucket=b, Key="big", ChecksumMode="ENABLED")
        assert head["ETag"].endswith('-4"') and head["ContentType"] == "x/y" and "ChecksumCRC32" in head
        s3.copy({"Bucket": b, "Key": "big"}, b, "copy", Config=config)
        assert s3.get_object(Bucket=b, Key="copy")["Body"].read() == body


@case
def presigned(s3):
    with Bucket(s3) as b:
        # SigV4 explicitly: this SDK still presigns with SigV2 unless told otherwise.
        signer = client(signature_version="s3v4")
        url = signer.generate_presigned_url("put_object", {"Bucket": b, "Key": "k ü"}, ExpiresIn=60)
        request = urllib.request.Request(url, data=b"by url", method="PUT")
        assert urllib.request.urlopen(request, timeout=60).status == 200
        url = signer.generate_presigned_url("get_object", {"Bucket": b, "Key": "k ü", "ResponseContentType": "a/b"}, ExpiresIn=60)
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.read() == b"by url" and answer.headers["Content-Type"] == "a/b"
        try:
            urllib.request.urlopen(url.replace("X-Amz-Expires=60", "X-Amz-Expires=61"), timeout=60)
            raise AssertionError("a tampered URL was served")
        except urllib.error.HTTPError as error:
            assert error.code == 403
        form = signer.generate_presigned_post(b, "form", Conditions=[["content-length-range", 1, 100]], ExpiresIn=60)
        boundary = uuid.uuid4().hex
        lines = []
        for name, value in form["fields"].items():
            lines.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n')
        lines.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nby form\r\n--{boundary}--\r\n')
        request = urllib.request.Request(
            form["url"], data="".join(lines).encode(), method="POST",
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        assert urllib.request.urlopen(request, timeout=60).status in (200, 204)
        assert s3.get_object(Bucket=b, Key="form")["Body"].read() == b"by form"


@case
def authentication(s3):
    with Bucket(s3) as b:
        refused("InvalidAccessKeyId", 403, client(access="NOBODY").list_objects_v2, Bucket=b)
        refused("SignatureDoesNotMatch", 403, client(secret="wrong").list_objects_v2, Bucket=b)
        refused("AccessDenied", 403, client(signature_version=UNSIGNED).list_objects_v2, Bucket=b)
        refused("AuthorizationHeaderMalformed", 400, client(region="mars-north-1").list_objects_v2, Bucket=b)


@case
def settings(s3):
    with Bucket(s3) as b:
        s3.put_object(Bucket=b, Key="k", Body=b"x")
        assert "Status" not in s3.get_bucket_versioning(Bucket=b)
        assert s3.get_bucket_acl(Bucket=b)["Grants"][0]["Permission"] == "FULL_CONTROL"
        assert s3.get_object_acl(Bucket=b, Key="k")["Grants"][0]["Permission"] == "FULL_CONTROL"
        assert s3.get_object_tagging(Bucket=b, Key="k")["TagSet"] == []
        assert s3.get_bucket_request_payment(Bucket=b)["Payer"] == "BucketOwner"
        assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=b)
        s3.get_bucket_notification_configuration(Bucket=b)
        for name, code in [
            ("get_bucket_tagging", "NoSuchTagSet"), ("get_bucket_policy", "NoSuchBucketPolicy"),
            ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
            ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
            ("get_bucket_cors", "NoSuchCORSConfiguration"), ("get_bucket_website", "NoSuchWebsiteConfiguration"),
            ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
            ("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
            ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
        ]:
            refused(code, 404, getattr(s3, name), Bucket=b)
        refused("MalformedPolicy", 400, s3.put_bucket_policy, Bucket=b, Policy="{}")
        refused("AccessControlListNotSupported", 400, s3.put_object_acl, Bucket=b, Key="k", ACL="public-read")
        s3.put_object(Bucket=b, Key="t", Body=b"", Tagging="a=b")
        assert s3.get_object_tagging(Bucket=b, Key="t")["TagSet"] == [{"Key": "a", "Value": "b"}]
        s3.put_object_tagging(Bucket=b, Key="t", Tagging={"TagSet": []})
        assert s3.get_object_tagging(Bucket=b, Key="t")["TagSet"] == []
        refused("MetadataTooLarge", 400, s3.put_object, Bucket=b, Key="m", Body=b"", Metadata={"a": "x" * 2048})


@case
def parallel_clients(s3):
    with Bucket(s3) as b:
        def work(worker):
            own = client()
            for i in range(12):
                key = f"{worker}/{i}"
                body = content(worker * 100 + i, 20_000 + i)
                own.put_object(Bucket=b, Key=key, Body=body)
                assert own.get_object(Bucket=b, Key=key)["Body"].read() == body
                if i % 3 == 0:
                    own.delete_object(Bucket=b, Key=key)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        keys = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=b) for o in p["Contents"]]
        assert len(keys) == 8 * 8


def main():
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    s3 = client()
    failed, passed = [], 0
    for function in CASES:
        if pattern not in function.__name__:
            continue
        try:
            function(s3)
            passed += 1
        except Exception:
            traceback.print_exc()
            failed.append(function.__name__)
    print(json.dumps({"suite": "s3_boto3", "passed": passed, "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
