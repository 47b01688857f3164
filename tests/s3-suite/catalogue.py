"""The functions of the public suite, read from its source without running it."""

import ast
import dataclasses
import pathlib

# The files whose every function stands in one of the lists.
FILES = ("test_s3.py", "test_headers.py")
# Markers of functions that make no sense outside Ceph, or that AWS itself fails.
FOREIGN = {"fails_on_aws", "lifecycle_transition", "auth_aws2", "storage_class", "appendobject", "target_by_bucket"}
FOREIGN_FAMILIES = ("bucket_logging", "cloud_", "iam_")


# Why functions that carry such a marker fail for good, where they fail: the first that fits.
NEVER = (
    ("bucket_logging", "server access logging in Ceph's form, with its extensions to the API"),
    ("cloud_", "transition to another cloud and back, which is Ceph's alone"),
    ("target_by_bucket", "transition to another cloud and back, which is Ceph's alone"),
    ("auth_aws2", "signature version 2, which AWS has switched off"),
    ("appendobject", "Ceph's own form of append; AWS's is offered"),
    ("lifecycle_transition", "there is one storage class: all objects are stored in the same way"),
    ("storage_class", "there is one storage class: all objects are stored in the same way"),
    ("iam_", "needs users made through Ceph's IAM API on the S3 endpoint"),
)


@dataclasses.dataclass(frozen=True)
class Function:
    """One test function of the suite."""

    file: str
    name: str
    markers: frozenset

    @property
    def label(self):
        """How the lists call it."""
        return f"{self.file.removesuffix('.py')}::{self.name}"

    @property
    def never(self):
        """Why it fails for good, if its markers tell."""
        reasons = (why for family, why in NEVER if any(mark.startswith(family) for mark in self.markers))
        return next(reasons, "")

    @property
    def core(self):
        """Whether it is one of those that a server other than Ceph can be measured by."""
        foreign = any(mark in FOREIGN or mark.startswith(FOREIGN_FAMILIES) for mark in self.markers)
        return self.file == "test_s3.py" and not foreign


def marker(decorator):
    """`pytest.mark.NAME` or `pytest.mark.NAME(...)` → NAME."""
    node = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pytest.mark":
        return node.attr
    return None


def functions(suite):
    """Every test function of the suite at `suite`, in the order of the source."""
    found = []
    for file in FILES:
        path = pathlib.Path(suite) / "s3tests" / "functional" / file
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                markers = frozenset(filter(None, map(marker, node.decorator_list)))
                found.append(Function(file, node.name, markers))
    return found
