#!/usr/bin/env python3
"""A lock by conditional writes, as Terraform keeps one beside its state: many want it at once, one at a time has
it, and what they count under it is never counted twice. Environment as of s3_boto3.py."""

import json
import threading
import time

from botocore.exceptions import ClientError

from s3_boto3 import Bucket, client

WORKERS = 8
TURNS = 5
STATE, LOCK = "env/terraform.tfstate", "env/terraform.tfstate.tflock"
PATIENCE_SECONDS = 120


def failed(error, *codes):
    return error.response["Error"]["Code"] in codes


def acquire(s3, bucket, who):
    """Makes the lock object, which must not be there; its ETag proves later that it is ours."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return s3.put_object(Bucket=bucket, Key=LOCK, Body=json.dumps({"ID": who}), IfNoneMatch="*")["ETag"]
        except ClientError as error:
            assert failed(error, "PreconditionFailed", "ConditionalRequestConflict"), error
            assert time.monotonic() < until, "nobody lets go of the lock"
            time.sleep(0.01)


def count(s3, bucket, worker, holders):
    for turn in range(TURNS):
        etag = acquire(s3, bucket, f"{worker}-{turn}")
        holders.append(worker)
        assert len(holders) == 1, "two hold the lock"
        state = s3.get_object(Bucket=bucket, Key=STATE)
        serial = json.loads(state["Body"].read())["serial"]
        s3.put_object(Bucket=bucket, Key=STATE, Body=json.dumps({"serial": serial + 1}), IfMatch=state["ETag"])
        holders.remove(worker)
        s3.delete_object(Bucket=bucket, Key=LOCK, IfMatch=etag)


def main():
    s3, holders, faults = client(), [], []

    def work(bucket, worker):
        try:
            count(s3, bucket, worker, holders)
        except BaseException as fault:
            faults.append(fault)

    with Bucket(s3) as bucket:
        s3.put_object(Bucket=bucket, Key=STATE, Body=json.dumps({"serial": 0}))
        threads = [threading.Thread(target=work, args=(bucket, worker)) for worker in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults, faults
        assert json.loads(s3.get_object(Bucket=bucket, Key=STATE)["Body"].read())["serial"] == WORKERS * TURNS
        # Who lost the lock to somebody else cannot let go of it, nor write over what that one wrote.
        stale = acquire(s3, bucket, "first")
        s3.put_object(Bucket=bucket, Key=LOCK, Body=b"taken over")
        for call in (s3.delete_object, s3.put_object):
            try:
                call(Bucket=bucket, Key=LOCK, IfMatch=stale)
            except ClientError as error:
                assert failed(error, "PreconditionFailed"), error
            else:
                raise AssertionError("a stale holder changed the lock")
        s3.delete_object(Bucket=bucket, Key=LOCK)
    print("ok lock")


if __name__ == "__main__":
    main()
