"""Runs the public suite, or a part of it, against a gateway."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import gateway

HERE = pathlib.Path(__file__).resolve().parent
# Longest time that one case may take, and a whole run.
CASE_SECONDS = 180
RUN_SECONDS = 3 * 3600
# The users that the suite wants, each with an account of its own; the last three sections are about Ceph's own
# API of users.
SECTIONS = {
    "s3 main": "main",
    "s3 alt": "alt",
    "s3 tenant": "tenant",
    "iam": "main",
    "iam root": "main",
    "iam alt root": "alt",
}
# What the door is told: days that pass while the suite waits, ACLs and signatures of forms as the suite
# knows them, which AWS has switched off for new buckets and forms.
WANTED = {"lifecycle_day": '"10s"', "object_ownership": '"ObjectWriter"', "forms_signed_v2": "true"}
# Functions that look at all buckets of their user, so that nothing may run beside them.
ALONE = "buckets_list or list_buckets"


def settings():
    """Lines for the section of the door: those of WANTED that the example configuration knows."""
    example = (HERE.parent.parent / "deploy" / "cess-gateway.toml").read_text()
    return [f"{name} = {value}" for name, value in WANTED.items() if re.search(rf"^#? *{name} *=", example, re.MULTILINE)]


def owner(python, endpoint, keys):
    """The canonical id and display name of the account behind `keys`, as the door says them."""
    program = (
        "import boto3, json, sys\n"
        "endpoint, access, secret = sys.argv[1:]\n"
        "client = boto3.client('s3', endpoint_url=endpoint, region_name='us-east-1',\n"
        "    aws_access_key_id=access, aws_secret_access_key=secret)\n"
        "print(json.dumps(client.list_buckets()['Owner']))\n"
    )
    said = subprocess.run(
        [python, "-c", program, endpoint, *keys], check=True, capture_output=True, text=True, timeout=60
    )
    shown = json.loads(said.stdout)
    return shown["ID"], shown.get("DisplayName", "")


def configuration(endpoint, keys, owners):
    """The suite's own configuration file."""
    host, _, port = endpoint.removeprefix("http://").rpartition(":")
    lines = [
        "[DEFAULT]",
        f"host = {host}",
        f"port = {port}",
        "is_secure = False",
        "ssl_verify = False",
        "[fixtures]",
        "bucket prefix = suite-{random}-",
        "iam name prefix = suite-",
        "iam path prefix = /suite/",
    ]
    for section, user in SECTIONS.items():
        access, secret = keys[user]
        identity, name = owners[user]
        lines += [
            f"[{section}]",
            f"display_name = {name}",
            f"user_id = {identity}",
            f"email = {user}@example.com",
            f"access_key = {access}",
            f"secret_key = {secret}",
        ]
        if section == "s3 main":
            lines += [f"api_name = {gateway.REGION}", "lc_debug_interval = 10"]
        if section == "s3 tenant":
            lines += ["tenant = "]
    return "\n".join(lines) + "\n"


def run(program, suite, python, expression="", workers=1, told=None):
    """Runs the cases that `expression` selects; returns their verdicts, in the order they ended."""
    with tempfile.TemporaryDirectory(prefix="s3-suite-") as directory:
        directory = pathlib.Path(directory)
        users = list(dict.fromkeys(SECTIONS.values()))
        with gateway.serving(program, directory, users, settings() if told is None else told) as (endpoint, keys):
            owners = {user: owner(python, endpoint, keys[user]) for user in users}
            config = directory / "suite.conf"
            config.write_text(configuration(endpoint, keys, owners))
            verdicts = directory / "verdicts"
            verdicts.touch()
            for phase, count in phases(expression, workers):
                pytest(suite, python, phase, count, config, verdicts)
            log = (directory / "gateway.log").read_text(errors="replace")
            unwelcome = [line for line in log.splitlines() if "panicked" in line or " ERROR " in line]
            for line in unwelcome[:20]:
                print(f"the gateway says: {line}", file=sys.stderr)
            return [json.loads(line) for line in verdicts.read_text().splitlines()]


def phases(expression, workers):
    """Expression and number of workers of each call of pytest."""
    if workers <= 1:
        return [(expression, 1)]
    within = f"({expression}) and " if expression else ""
    return [(f"{within}not ({ALONE})", workers), (f"{within}({ALONE})", 1)]


def pytest(suite, python, expression, workers, config, verdicts):
    command = [python, "-m", "pytest", "-q", "--tb=short", "--no-header", "-p", "verdicts", "-p", "no:cacheprovider"]
    command += [f"--timeout={CASE_SECONDS}", "-k", expression] if expression else [f"--timeout={CASE_SECONDS}"]
    command += ["-n", str(workers)] if workers > 1 else []
    command += ["s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py"]
    environment = {
        **os.environ,
        "S3TEST_CONF": str(config),
        "S3_SUITE_VERDICTS": str(verdicts),
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": gateway.REGION,
    }
    # pytest's own verdict does not matter here: each case's does.
    subprocess.run(command, cwd=suite, env=environment, check=False, timeout=RUN_SECONDS)
