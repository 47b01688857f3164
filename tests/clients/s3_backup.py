#!/usr/bin/env python3
"""A tree is backed up into buckets by restic and by rclone, changes, is backed up again, and comes back as it
was. Environment as of s3_boto3.py; restic and rclone are found by PATH."""

import hashlib
import os
import pathlib
import random
import subprocess
import tempfile

FILES = 120


def tree(root, random_):
    """Many small files, some large ones, awkward names, an empty directory, a link."""
    for number in range(FILES):
        path = root / f"dir {number % 7}" / f"ü-file+{number:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random_.randbytes(random_.choice((0, 100, 40_000))))
    (root / "large").write_bytes(random_.randbytes(24 << 20))
    (root / "empty").mkdir()
    (root / "link").symlink_to("large")


def change(root, random_):
    for number in range(0, FILES, 5):
        path = root / f"dir {number % 7}" / f"ü-file+{number:03}"
        path.write_bytes(random_.randbytes(5_000)) if number % 2 else path.unlink()
    with (root / "large").open("r+b") as large:
        large.seek(12 << 20)
        large.write(random_.randbytes(1 << 20))
    (root / "new").write_bytes(b"new")


def picture(root, links=True):
    """What lies below: content of files, targets of links."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            if links:
                found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def run(environment, *command):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def restic(source, scratch, random_):
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": os.environ["S3_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["S3_SECRET_KEY"],
        "AWS_DEFAULT_REGION": os.environ["S3_REGION"],
        "RESTIC_REPOSITORY": f"s3:{os.environ['S3_ENDPOINT']}/restic-backup",
        "RESTIC_PASSWORD": "a password of the test",
        "RESTIC_CACHE_DIR": str(scratch / "cache"),
        "RESTIC_PROGRESS_FPS": "0.01",
    }

    def call(*arguments):
        return run(environment, "restic", *arguments)

    call("init")
    call("backup", str(source), "--tag", "first")
    first = picture(source)
    change(source, random_)
    call("backup", str(source), "--tag", "second")
    second = picture(source)
    for tag, expected in (("first", first), ("second", second)):
        target = scratch / tag
        call("restore", "latest", "--tag", tag, "--target", str(target))
        assert picture(target / source.relative_to("/")) == expected, f"restic's {tag} backup came back otherwise"
    call("check", "--read-data")
    call("forget", "--keep-last", "1", "--prune", "--group-by", "host")
    call("check", "--read-data")
    assert len(call("snapshots", "--json").split('"short_id"')) == 2


def rclone(source, scratch, random_):
    environment = {
        **os.environ,
        "RCLONE_CONFIG": str(scratch / "rclone.conf"),
        "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_PROVIDER": "Other",
        "RCLONE_CONFIG_S3_ENDPOINT": os.environ["S3_ENDPOINT"],
        "RCLONE_CONFIG_S3_REGION": os.environ["S3_REGION"],
        "RCLONE_CONFIG_S3_ACCESS_KEY_ID": os.environ["S3_ACCESS_KEY"],
        "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": os.environ["S3_SECRET_KEY"],
        "RCLONE_S3_CHUNK_SIZE": "5Mi",
        "RCLONE_S3_UPLOAD_CUTOFF": "8Mi",
    }

    def call(*arguments):
        return run(environment, "rclone", "-q", "--skip-links", *arguments)

    (scratch / "rclone.conf").touch()
    call("mkdir", "s3:rclone-backup")
    call("sync", str(source), "s3:rclone-backup/now")
    before = picture(source, links=False)
    change(source, random_)
    # What changes or goes is kept aside.
    call("sync", str(source), "s3:rclone-backup/now", "--backup-dir", "s3:rclone-backup/before")
    call("check", "--download", str(source), "s3:rclone-backup/now")
    back, older = scratch / "back", scratch / "older"
    call("copy", "s3:rclone-backup/now", str(back))
    assert picture(back) == picture(source, links=False), "rclone's backup came back otherwise"
    assert all(
        (back / name).stat().st_mtime_ns == (source / name).stat().st_mtime_ns for name in picture(back)
    ), "times did not come back"
    call("copy", "s3:rclone-backup/now", str(older))
    call("copy", "s3:rclone-backup/before", str(older))
    (older / "new").unlink()
    assert picture(older) == before, "the older state cannot be put together"
    call("purge", "s3:rclone-backup")


def main():
    for journey in (restic, rclone):
        with tempfile.TemporaryDirectory() as scratch:
            scratch, random_ = pathlib.Path(scratch).resolve(), random.Random(11)
            source = scratch / "source"
            source.mkdir()
            tree(source, random_)
            journey(source, scratch, random_)
        print(f"ok {journey.__name__}")


if __name__ == "__main__":
    main()
