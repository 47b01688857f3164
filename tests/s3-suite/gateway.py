"""A network in a box and a gateway on it, as child processes, for as long as a `with` lasts."""

import contextlib
import json
import os
import pathlib
import select
import signal
import subprocess
import time

# Longest wait for a program to say that it serves.
START_PATIENCE_SECONDS = 90
# Longest wait for one to end after SIGTERM, before SIGKILL.
STOP_PATIENCE_SECONDS = 30
REGION = "us-east-1"


class Failed(Exception):
    """A program did not do what it was started for."""


def private(path, text):
    """Writes a file that nobody else may read, as the gateway demands of secrets."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)


@contextlib.contextmanager
def running(command, log, environment=None):
    """Starts `command` and yields the line of JSON that it prints once it serves."""
    with open(log, "ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(environment or {})},
        )
    try:
        yield json.loads(first_line(process, command, log))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def first_line(process, command, log):
    line = b""
    until = time.monotonic() + START_PATIENCE_SECONDS
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0, until - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not piece:
            said = pathlib.Path(log).read_text(errors="replace")[-2000:]
            raise Failed(f"{command[0]} {command[1]} does not serve: {said}")
        line += piece
    return line


@contextlib.contextmanager
def serving(gateway, directory, users, settings):
    """A gateway with one key pair for each of `users`; yields its endpoint and `{user: (access, secret)}`. The first
    is the gateway's own account, the others have accounts of their own where the gateway has accounts.

    `settings` are further lines of the `[s3]` section. The network's program lies beside `gateway`, or
    where CESS_DEVNET says. Nothing is leased: what the suite writes stays
    on this machine, where an acknowledgement of the level `staged` promises it to be.
    """
    directory = pathlib.Path(directory)
    devnet = os.environ.get("CESS_DEVNET") or pathlib.Path(gateway).with_name("cess-devnet")
    network = [devnet, "up", "--miners", "12", "--rpc", "127.0.0.1:0", "--data", directory / "network"]
    keys = {user: (f"SUITE{user.upper()}".ljust(20, "0"), f"secret-of-{user}".ljust(40, "0")) for user in users}
    private(directory / "credentials", "".join(f"{access}:{secret}\n" for access, secret in keys.values()))
    private(directory / "passphrase", "a passphrase for the suite\n")
    private(directory / "signer", "//Bob\n")
    with running(network, directory / "network.log") as network_ready:
        configuration = directory / "gateway.toml"
        configuration.write_text(
            "\n".join(
                [
                    f'data = "{directory}/data"',
                    "[keys]",
                    f'passphrase_file = "{directory}/passphrase"',
                    "[network]",
                    f'rpc = ["{network_ready["chain"]["rpc"]}"]',
                    f'signer_file = "{directory}/signer"',
                    "[store]",
                    'checkpoint_interval = "0s"',
                    "[s3]",
                    'listen = "127.0.0.1:0"',
                    f'region = "{REGION}"',
                    f'credentials_file = "{directory}/credentials"',
                    *settings,
                    "",
                ]
            )
        )
        serve = [gateway, "serve", "--json", "--config", configuration]
        with running(serve, directory / "gateway.log") as ready:
            for user in list(keys)[1:]:
                keys[user] = account(gateway, directory, user) or keys[user]
            encryption_keys(gateway, directory)
            yield ready["s3"]["endpoint"], keys


def order(gateway, directory, *words):
    """Gives the running gateway a command; `False` if it does not know such commands."""
    if subprocess.run([gateway, words[0], "--help"], capture_output=True).returncode != 0:
        return False
    command = [gateway, *words, "--data", directory / "data"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return True


def encryption_keys(gateway, directory):
    """The keys that the suite encrypts with when its configuration names none."""
    for name in ("testkey-1", "testkey-2"):
        order(gateway, directory, "kms", "create", name)


def account(gateway, directory, name):
    """Makes an account and a key pair of it; `None` from a gateway without accounts."""
    if not order(gateway, directory, "iam", "account", "create", name):
        return None
    pair = directory / f"{name}.key"
    order(gateway, directory, "iam", "key", "create", "--account", name, "--to", pair)
    access, _, secret = pair.read_text().strip().partition(":")
    return access, secret
