"""Long work: a line a minute in a log, a bar on a terminal."""

from __future__ import annotations

import types

import pytest

from kser import progress
from kser.progress import counting
from tests.terminal import on_a_terminal, plain


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when it is told to."""
    clock = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: clock.seconds))
    return clock


def test_a_log_gets_a_line_a_minute(clock, capsys):
    with counting("features", "clips", total=1000) as counter:
        for _ in range(1000):
            clock.seconds += 0.25  # four minutes and ten seconds in all
            counter.advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [f"features: {done} of 1000 clips" for done in (240, 480, 720, 960)]


def test_what_takes_less_than_a_minute_says_nothing(clock, capsys):
    with counting("features", "clips", total=3) as counter:
        counter.advance(3)
    assert capsys.readouterr().err == ""


def test_a_note_is_a_line_of_its_own(clock, capsys):
    with counting("training", "steps", 20, done=10) as counter:
        counter.note("epoch 2 of 4, loss 1.234")
        clock.seconds += 61
        counter.advance()
    assert capsys.readouterr().err.splitlines() == ["training: epoch 2 of 4, loss 1.234", "training: 11 of 20 steps"]


def test_how_much_there_is_may_be_told_on_the_way(clock, capsys):
    with counting("searching", "families") as counter:
        clock.seconds += 61
        counter.advance(1, total=36)
    assert capsys.readouterr().err == "searching: 1 of 36 families\n"


def test_a_terminal_gets_a_bar_whose_line_ends():
    code = (
        "from kser.progress import counting\n"
        "with counting('features', 'clips', 3) as counter:\n"
        "    counter.advance(2)\n"
        "    counter.note('[nearly]')\n"
        "print('after')"
    )
    printed = plain(on_a_terminal(code, columns=100))
    assert "features" in printed and "2/3" in printed and "clips" in printed and "[nearly]" in printed
    assert printed.endswith("\nafter\r\n")
