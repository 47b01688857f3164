#!/usr/bin/env python3
"""The token service as boto3 sees it.

Reads S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY, S3_REGION and ROLE_ARN (a role that trusts everybody
and has no policies) from the environment.
"""

import os
import urllib.request
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["S3_ENDPOINT"]
REGION = os.environ["S3_REGION"]
CONFIG = Config(retries={"max_attempts": 1}, proxies={})


def client(service, access, secret, token=None):
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name=REGION,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        aws_session_token=token,
        # The oldest region has another default for presigned URLs.
        config=CONFIG.merge(Config(signature_version="s3v4")) if service == "s3" else CONFIG,
    )


def of(service, credentials):
    return client(
        service,
        credentials["AccessKeyId"],
        credentials["SecretAccessKey"],
        credentials["SessionToken"],
    )


def refused(code, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error.response
    else:
        raise AssertionError(f"{call} was not refused")


def main():
    access, secret = os.environ["S3_ACCESS_KEY"], os.environ["S3_SECRET_KEY"]
    sts = client("sts", access, secret)
    who = sts.get_caller_identity()
    assert who["Arn"] == f"arn:aws:iam::{who['Account']}:root", who

    session = sts.get_session_token(DurationSeconds=900)["Credentials"]
    s3 = of("s3", session)
    bucket = f"sts-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"value")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
    assert "X-Amz-Security-Token" in url
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
        assert answer.read() == b"value"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"value"
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)

    role = os.environ["ROLE_ARN"]
    taken = sts.assume_role(RoleArn=role, RoleSessionName="shift", DurationSeconds=900)
    assert taken["AssumedRoleUser"]["AssumedRoleId"].endswith(":shift"), taken
    assert of("sts", taken["Credentials"]).get_caller_identity()["Arn"] == taken["AssumedRoleUser"]["Arn"]
    refused("AccessDenied", of("s3", taken["Credentials"]).create_bucket, Bucket=bucket)

    refused("AccessDenied", sts.assume_role, RoleArn=role + "x", RoleSessionName="shift")
    refused("ValidationError", sts.assume_role, RoleArn=role, RoleSessionName="shift", DurationSeconds=43200)
    refused("InvalidClientTokenId", client("sts", "NOBODY", secret).get_caller_identity)
    refused("SignatureDoesNotMatch", client("sts", access, "wrong").get_caller_identity)
    refused("InvalidToken", client("s3", access, secret, "bent").list_buckets)
    print("session tokens, roles and refusals work")


main()
