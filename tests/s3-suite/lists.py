"""The three lists: which functions of the suite work, which do not yet, and which never will, and why.

One line for each function, `FILE::NAME`; in the lists of what does not work a colon and the reason follow.
"""

import dataclasses
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
WORKS, NOT_YET, WILL_NOT = "works", "not-yet", "will-not"
LISTS = (WORKS, NOT_YET, WILL_NOT)


@dataclasses.dataclass
class Lists:
    """Reason by function, for each list; the reason of what works is empty."""

    reasons: dict

    @classmethod
    def read(cls, directory=HERE):
        """Reads the three files; a missing one is empty."""
        reasons = {}
        for name in LISTS:
            path = pathlib.Path(directory) / f"{name}.txt"
            lines = path.read_text().splitlines() if path.exists() else []
            entries = [line.partition(": ") for line in lines if line and not line.startswith("#")]
            reasons[name] = {label: reason for label, _, reason in entries}
            if len(reasons[name]) != len(entries):
                raise ValueError(f"{path} names a function twice")
        return cls(reasons)

    def write(self, functions, directory=HERE):
        """Writes the three files, each in the order of the suite's source."""
        order = {function.label: place for place, function in enumerate(functions)}
        for name in LISTS:
            entries = sorted(self.reasons[name].items(), key=lambda entry: order[entry[0]])
            text = "".join(f"{label}: {reason}\n" if reason else f"{label}\n" for label, reason in entries)
            (pathlib.Path(directory) / f"{name}.txt").write_text(text)

    def mistakes(self, functions):
        """What is wrong with the lists themselves: each function stands in exactly one, with its reason."""
        known = {function.label for function in functions}
        said = []
        for label in sorted(known):
            homes = [name for name in LISTS if label in self.reasons[name]]
            if len(homes) != 1:
                said.append(f"{label} is in {' and '.join(homes) or 'no list'}")
        for name in LISTS:
            said += [f"{label} in {name} is not in the suite" for label in self.reasons[name] if label not in known]
        for name in (NOT_YET, WILL_NOT):
            said += [f"{label} in {name} has no reason" for label, reason in self.reasons[name].items() if not reason]
        return said

    def accept(self, functions, outcomes):
        """Sorts every function that ran by what it did. What will not work stays so, with its reason, while
        it fails; of what does not work yet, the reason is what it said."""
        for function in functions:
            label = function.label
            outcome = outcomes.get(label)
            if outcome is None:
                continue
            known = {name: self.reasons[name].pop(label, "") for name in LISTS}
            if outcome.passed:
                self.reasons[WORKS][label] = ""
            elif known[WILL_NOT] or (function.never and not known[NOT_YET]):
                self.reasons[WILL_NOT][label] = known[WILL_NOT] or function.never
            else:
                self.reasons[NOT_YET][label] = outcome.why


@dataclasses.dataclass
class Outcome:
    """What became of one function: it passed if each of its cases did."""

    passed: bool
    why: str


def outcomes(verdicts):
    """Outcome by function."""
    found = {}
    for verdict in verdicts:
        outcome = found.setdefault(verdict["test"], Outcome(True, ""))
        if verdict["outcome"] != "passed" and outcome.passed:
            found[verdict["test"]] = Outcome(False, verdict["why"])
    return found
