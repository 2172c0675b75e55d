"""Scripts: drawn from a seed, and printed as the Python that makes them."""

from __future__ import annotations

from trioservice.testing import scripts
from trioservice.testing.scripts import advance, restart, script_of, shown


def test_a_script_prints_as_what_makes_it() -> None:
    for seed in range(200):
        script = script_of(seed, ["shop/a", "shop/b/c"], ["shop/b"])
        assert eval(shown(script), vars(scripts)) == script


def test_the_same_seed_is_the_same_script() -> None:
    assert script_of(4, ["a"]) == script_of(4, ["a"])


def test_each_third_has_no_faults() -> None:
    faults = {"fail", "fail_to_start", "fail_to_stop"}
    for seed in range(0, 300, 3):
        assert not faults & {deed.verb for deed in script_of(seed, ["shop/a"])}


def test_a_long_script_has_a_line_for_each_deed() -> None:
    long = [advance(1.0), restart("shop/a")] * 4
    assert shown(long[:2]) == "[advance(1.0), restart('shop/a')]"
    assert len(shown(long).splitlines()) == 10
