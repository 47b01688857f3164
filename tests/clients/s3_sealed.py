#!/usr/bin/env python3
"""Keys of clients (SSE-C) and checksums of uploads as boto3 sees them.

Reads S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY and S3_REGION from the environment, works in a bucket of
its own, removes it, and prints one line of JSON: how many cases passed and which failed. Exits with 1 when
a case failed.
"""

import base64
import hashlib
import io
import json
import os
import sys
import traceback
import uuid
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1 << 20
CASES = []


def case(function):
    CASES.append(function)
    return function


def content(seed, size):
    out = bytearray()
    counter = 0
    while len(out) < size:
        out += hashlib.sha256(f"{seed}:{counter}".encode()).digest()
        counter += 1
    return bytes(out[:size])


def refused(status, call, **kwargs):
    try:
        call(**kwargs)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status, error
        return
    raise AssertionError("was not refused")


def sse(byte):
    """boto3 adds the MD5 by itself."""
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes([byte]) * 32}


@case
def transfers_with_a_key(s3, bucket):
    """Managed transfers: parts in parallel up, ranges in parallel down."""
    body = content("transfer", 17 * MIB + 5)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(body), bucket, "big", ExtraArgs=sse(1), Config=config)
    got = io.BytesIO()
    s3.download_fileobj(bucket, "big", got, ExtraArgs=sse(1), Config=config)
    assert got.getvalue() == body
    refused(400, s3.get_object, Bucket=bucket, Key="big")
    refused(400, s3.get_object, Bucket=bucket, Key="big", **sse(2))
    head = s3.head_object(Bucket=bucket, Key="big", **sse(1))
    assert head["ContentLength"] == len(body) and head["SSECustomerAlgorithm"] == "AES256"


@case
def copies_between_keys(s3, bucket):
    body = content("copy", 100_000)
    s3.put_object(Bucket=bucket, Key="one", Body=body, **sse(1))
    source = {"CopySource": {"Bucket": bucket, "Key": "one"}}
    key = {f"CopySource{name}": value for name, value in sse(1).items()}
    refused(400, s3.copy_object, Bucket=bucket, Key="two", **source)
    s3.copy_object(Bucket=bucket, Key="two", **source, **key, **sse(2))
    assert s3.get_object(Bucket=bucket, Key="two", **sse(2))["Body"].read() == body
    s3.copy_object(Bucket=bucket, Key="plain", **source, **key)
    plain = s3.get_object(Bucket=bucket, Key="plain")
    assert plain["Body"].read() == body and plain["ServerSideEncryption"] == "AES256"


def digest(algorithm, data):
    if algorithm == "CRC32":
        return zlib.crc32(data).to_bytes(4, "big")
    return hashlib.new(algorithm.lower(), data).digest()


@case
def checksums_of_uploads(s3, bucket):
    parts = [content("part", 5 * MIB), content("last", 1234)]
    for algorithm, coverage in [
        ("CRC32", "FULL_OBJECT"),
        ("CRC32", "COMPOSITE"),
        ("SHA1", "COMPOSITE"),
        ("SHA256", "COMPOSITE"),
    ]:
        field = f"Checksum{algorithm}"
        key = f"{algorithm}-{coverage}"
        upload = s3.create_multipart_upload(
            Bucket=bucket, Key=key, ChecksumAlgorithm=algorithm, ChecksumType=coverage
        )
        assert (upload["ChecksumAlgorithm"], upload["ChecksumType"]) == (algorithm, coverage)
        at = {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}
        done = []
        for number, body in enumerate(parts, 1):
            part = s3.upload_part(**at, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
            assert part[field] == base64.b64encode(digest(algorithm, body)).decode()
            done.append({"PartNumber": number, "ETag": part["ETag"], field: part[field]})
        if coverage == "FULL_OBJECT":
            whole = base64.b64encode(digest(algorithm, b"".join(parts))).decode()
        else:
            digests = b"".join(digest(algorithm, body) for body in parts)
            whole = f"{base64.b64encode(digest(algorithm, digests)).decode()}-{len(parts)}"
        refused(400, s3.complete_multipart_upload, **at, MultipartUpload={"Parts": done}, **{field: "AAAAAA=="})
        made = s3.complete_multipart_upload(**at, MultipartUpload={"Parts": done}, **{field: whole})
        assert made[field] == whole and made["ChecksumType"] == coverage
        head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert head[field] == whole and head["ChecksumType"] == coverage
        # boto3 verifies the checksum of what it reads, where it covers all of it.
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"".join(parts)
        second = s3.get_object(Bucket=bucket, Key=key, PartNumber=2)
        assert second["Body"].read() == parts[1] and second[field] == done[1][field]
        wanted = ["Checksum", "ObjectParts"]
        attributes = s3.get_object_attributes(Bucket=bucket, Key=key, ObjectAttributes=wanted)
        assert attributes["Checksum"][field] == whole
        assert [part[field] for part in attributes["ObjectParts"]["Parts"]] == [part[field] for part in done]


@case
def lifecycle_round_trip(s3, bucket):
    rules = [
        {"ID": "a", "Expiration": {"Days": 31}, "Prefix": "x/", "Status": "Enabled"},
        {
            "ID": "b",
            "Filter": {"And": {"Prefix": "y/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 5}},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 3},
            "Status": "Disabled",
        },
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
    made = s3.put_object(Bucket=bucket, Key="x/k", Body=b"x")
    assert 'rule-id="a"' in made["Expiration"]
    s3.delete_bucket_lifecycle(Bucket=bucket)


def main():
    s3 = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT"],
        aws_access_key_id=os.environ["S3_ACCESS_KEY"],
        aws_secret_access_key=os.environ["S3_SECRET_KEY"],
        region_name=os.environ.get("S3_REGION", "us-east-1"),
        config=Config(read_timeout=120, retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    failed, passed = [], 0
    for function in CASES:
        bucket = f"sealed-{uuid.uuid4().hex[:20]}"
        s3.create_bucket(Bucket=bucket)
        try:
            function(s3, bucket)
            passed += 1
        except Exception:
            traceback.print_exc()
            failed.append(function.__name__)
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for found in page.get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=found["Key"])
        s3.delete_bucket(Bucket=bucket)
    print(json.dumps({"suite": "s3_sealed", "passed": passed, "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
