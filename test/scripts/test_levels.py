"""The tags `slow` and the table of measurements in lib/pass/README.md say the same."""

import re

from gcomp_cli import ROOT, gcomp_ok

SAVES, COSTS = 0.10, 1.30  # scripts/measure_levels.py

README = (ROOT / "lib" / "pass" / "README.md").read_text()


def measured() -> dict[str, tuple[float, float, bool]]:
    """Row -> what is left of the time from start to artifact and of a call without it, and whether it is said to be slow."""
    table = README.split("<!-- slow: written by")[1].split("<!-- end of slow -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([0-9.]+)[^|]*\| ([0-9.]+)[^|]*\|[^|]*\| (yes|no) \|$", table, re.MULTILINE)
    return {name: (float(time), float(call), told == "yes") for name, time, call, told in rows}


def tagged() -> dict[str, bool]:
    """Every pass and stage of fast_run -> whether it has the tag."""
    rows = {}
    for line in gcomp_ok("list", "passes").splitlines():
        rows[line.split()[0]] = "slow" in re.findall(r"\w+", line[line.rindex("[") :])
    return rows


def test_tags_are_as_measured():
    """A new pass may wait for the next measurement, but not with the tag."""
    rows, tags = measured(), tagged()
    assert len(rows) > 8 and any(tags.values())
    for name, is_slow in tags.items():
        assert is_slow == (name in rows and rows[name][2]), name
    assert rows.keys() <= tags.keys()


def test_slow_is_what_saves_much_and_costs_little():
    for name, (time, call, told) in measured().items():
        assert told == (time < 1 - SAVES and call <= COSTS), name


def test_rules_are_not_slow_unless_a_row_says_so():
    rules = [line for line in gcomp_ok("list", "rules").splitlines() if "slow" in line[line.rindex("[") :]]
    assert rules == []
