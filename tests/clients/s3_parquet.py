#!/usr/bin/env python3
"""PyArrow writes and reads Parquet in a bucket: partitions, columns, predicates. Environment as of s3_boto3.py."""

import os
import urllib.parse

import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet
from pyarrow import fs

ROWS = 400_000


def filesystem():
    endpoint = urllib.parse.urlparse(os.environ["S3_ENDPOINT"])
    return fs.S3FileSystem(
        access_key=os.environ["S3_ACCESS_KEY"],
        secret_key=os.environ["S3_SECRET_KEY"],
        region=os.environ["S3_REGION"],
        scheme=endpoint.scheme,
        endpoint_override=endpoint.netloc,
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
    )


def main():
    s3 = filesystem()
    s3.create_dir("lake")
    numbers = pyarrow.array(range(ROWS), pyarrow.int64())
    # Hardly compressible, so that the one file takes several parts.
    noise = pyarrow.array([os.urandom(32) for _ in range(ROWS)], pyarrow.binary(32))
    table = pyarrow.table({"n": numbers, "day": pyarrow.array([n % 5 for n in range(ROWS)]), "noise": noise})

    pyarrow.parquet.write_table(table, "lake/one.parquet", filesystem=s3, row_group_size=50_000)
    assert s3.get_file_info("lake/one.parquet").size > 12 << 20
    assert pyarrow.parquet.read_table("lake/one.parquet", filesystem=s3).equals(table)
    column = pyarrow.parquet.read_table(
        "lake/one.parquet", filesystem=s3, columns=["n"], filters=[("n", ">=", 390_000)]
    )
    assert column.column_names == ["n"] and column.num_rows == 10_000

    partitions = pyarrow.dataset.partitioning(pyarrow.schema([("day", pyarrow.int64())]), flavor="hive")
    pyarrow.dataset.write_dataset(
        table.slice(0, 50_000), "lake/by-day", filesystem=s3, format="parquet", partitioning=partitions
    )
    dataset = pyarrow.dataset.dataset("lake/by-day", filesystem=s3, format="parquet", partitioning=partitions)
    assert len(dataset.files) == 5
    third = dataset.to_table(filter=pyarrow.compute.field("day") == 3, columns=["n"])
    assert sorted(third["n"].to_pylist()) == list(range(3, 50_000, 5))

    s3.move("lake/one.parquet", "lake/moved.parquet")
    names = {info.base_name for info in s3.get_file_info(fs.FileSelector("lake"))}
    assert names == {"moved.parquet", "by-day"}, names
    s3.delete_dir_contents("lake")
    s3.delete_dir("lake")
    print("ok parquet")


if __name__ == "__main__":
    main()
