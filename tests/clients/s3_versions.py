#!/usr/bin/env python3
"""Versioned buckets as boto3 sees them. Used as s3_boto3.py, whose cases it does not run."""

import sys

import boto3

import s3_boto3
from s3_boto3 import MIB, Bucket, content, refused

s3_boto3.CASES.clear()
case = s3_boto3.case


def versioning(s3, bucket, status):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status


def put(s3, bucket, key, body):
    return s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]


def read(s3, bucket, key, version=None):
    named = {"VersionId": version} if version else {}
    return s3.get_object(Bucket=bucket, Key=key, **named)["Body"].read()


def everything(s3, bucket, **request):
    """Versions and delete markers as (key, id, is latest), in the order of the answer."""
    versions, markers = [], []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, **request):
        versions += page.get("Versions", [])
        markers += page.get("DeleteMarkers", [])
    return tuple([(e["Key"], e["VersionId"], e["IsLatest"]) for e in found] for found in (versions, markers))


@case
def life_of_versions(s3):
    with Bucket(s3) as b:
        assert "VersionId" not in s3.put_object(Bucket=b, Key="k", Body=b"before")
        versioning(s3, b, "Enabled")
        ids = ["null"] + [put(s3, b, "k", content(n, 300_000)) for n in range(5)]
        assert len(set(ids)) == 6
        for n, version in enumerate(ids[1:]):
            assert read(s3, b, "k", version) == content(n, 300_000)
            head = s3.head_object(Bucket=b, Key="k", VersionId=version)
            assert head["VersionId"] == version and head["ContentLength"] == 300_000
        versions, markers = everything(s3, b, PaginationConfig={"PageSize": 2})
        assert versions == [("k", v, v == ids[-1]) for v in reversed(ids)] and not markers
        deleted = s3.delete_object(Bucket=b, Key="k")
        assert deleted["DeleteMarker"] is True
        refused("NoSuchKey", 404, read, s3, b, "k")
        refused("MethodNotAllowed", 405, read, s3, b, "k", deleted["VersionId"])
        refused("405", 405, s3.head_object, Bucket=b, Key="k", VersionId=deleted["VersionId"])
        refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=b)
        undone = s3.delete_object(Bucket=b, Key="k", VersionId=deleted["VersionId"])
        assert undone["DeleteMarker"] is True and undone["VersionId"] == deleted["VersionId"]
        for version in reversed(ids):
            assert s3.head_object(Bucket=b, Key="k")["VersionId"] == version
            gone = s3.delete_object(Bucket=b, Key="k", VersionId=version)
            assert gone["VersionId"] == version and not gone.get("DeleteMarker")
        refused("NoSuchKey", 404, read, s3, b, "k")
        refused("NoSuchVersion", 404, read, s3, b, "k", ids[1])
        refused("InvalidArgument", 400, read, s3, b, "k", "not-an-id")


@case
def suspended(s3):
    with Bucket(s3) as b:
        versioning(s3, b, "Enabled")
        first = put(s3, b, "k", b"1")
        versioning(s3, b, "Suspended")
        assert put(s3, b, "k", b"2") == "null"
        assert put(s3, b, "k", b"3") == "null"
        assert everything(s3, b)[0] == [("k", "null", True), ("k", first, False)]
        assert s3.delete_object(Bucket=b, Key="k")["VersionId"] == "null"
        assert everything(s3, b) == ([("k", first, False)], [("k", "null", True)])
        s3.delete_object(Bucket=b, Key="k", VersionId="null")
        assert read(s3, b, "k") == b"1"
        versioning(s3, b, "Enabled")
        put(s3, b, "k", b"4")
        assert len(everything(s3, b)[0]) == 2


@case
def copies_and_uploads(s3):
    with Bucket(s3) as b:
        versioning(s3, b, "Enabled")
        data = content(1, 6 * MIB)
        old = put(s3, b, "k", data)
        put(s3, b, "k", b"new")
        source = {"Bucket": b, "Key": "k", "VersionId": old}
        copied = s3.copy_object(Bucket=b, Key="k", CopySource=source)
        assert copied["CopySourceVersionId"] == old
        assert s3.head_object(Bucket=b, Key="k")["VersionId"] == copied["VersionId"]
        upload = s3.create_multipart_upload(Bucket=b, Key="k")["UploadId"]
        part = s3.upload_part_copy(Bucket=b, Key="k", UploadId=upload, PartNumber=1, CopySource=source)
        assert part["CopySourceVersionId"] == old
        done = s3.complete_multipart_upload(
            Bucket=b, Key="k", UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]})
        assert read(s3, b, "k", done["VersionId"]) == data
        marker = s3.delete_object(Bucket=b, Key="k")["VersionId"]
        source["VersionId"] = marker
        refused("InvalidRequest", 400, s3.copy_object, Bucket=b, Key="x", CopySource=source)
        assert len(everything(s3, b)[0]) == 4


@case
def batches_and_pages(s3):
    with Bucket(s3) as b:
        versioning(s3, b, "Enabled")
        keys = ["a", "d/x", "d/y", "z", "é/ü"]
        for n in range(3):
            for key in keys:
                put(s3, b, key, str(n).encode())
        answer = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": key} for key in keys]})
        assert all(e["DeleteMarker"] and e["DeleteMarkerVersionId"] for e in answer["Deleted"])
        versions, markers = everything(s3, b, PaginationConfig={"PageSize": 4})
        assert [e[0] for e in versions] == [key for key in keys for _ in range(3)]
        assert [e[0] for e in markers] == keys and all(e[2] for e in markers)
        rolled = s3.list_object_versions(Bucket=b, Delimiter="/", MaxKeys=2)
        assert rolled["IsTruncated"] and len(rolled["Versions"] + rolled["DeleteMarkers"]) == 2
        found = [p["Prefix"] for page in s3.get_paginator("list_object_versions").paginate(
            Bucket=b, Delimiter="/", PaginationConfig={"PageSize": 1}) for p in page.get("CommonPrefixes", [])]
        assert found == ["d/", "é/"]
        named = [{"Key": e[0], "VersionId": e[1]} for e in versions + markers]
        answer = s3.delete_objects(Bucket=b, Delete={"Objects": named})
        assert not answer.get("Errors") and everything(s3, b) == ([], [])


@case
def the_resource_deletes_everything(_):
    s3 = s3_boto3.client()
    with Bucket(s3) as b:
        versioning(s3, b, "Enabled")
        for n in range(1100):
            put(s3, b, f"k{n % 7}", b"")
        bucket = boto3.resource(
            "s3", endpoint_url=s3_boto3.ENDPOINT, aws_access_key_id=s3_boto3.ACCESS,
            aws_secret_access_key=s3_boto3.SECRET, region_name=s3_boto3.REGION).Bucket(b)
        bucket.object_versions.delete()
        assert everything(s3, b) == ([], [])


if __name__ == "__main__":
    sys.exit(s3_boto3.main())
