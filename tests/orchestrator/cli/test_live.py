import io

import pytest
from fleetfit.v1 import measurement_pb2, searches_pb2
from rich.console import Console

from orchestrator.cli.comparison import no_winner, print_comparison
from orchestrator.cli.live import LiveTable, display_for, print_trials, shown_trials
from orchestrator.client import Search, convert
from tests.fakes.fake_api import Script, a_finished_search, a_search, a_trial


def terminal(width: int = 160, height: int = 12) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None)


def the_search(feasible: bool = True) -> Search:
    script = Script()
    a_finished_search(script, feasible=feasible)
    return convert.search(script.searches[0], tuple(convert.trial(trial) for trial in script.trials))


def a_large_search(count: int) -> Search:
    states = searches_pb2.TRIAL_STATE_INFEASIBLE, searches_pb2.TRIAL_STATE_FEASIBLE, searches_pb2.TRIAL_STATE_TRAINING
    trials = [a_trial(number, states[0], size_bytes=1000) for number in range(count)]
    trials[3] = a_trial(3, states[1], size_bytes=500)
    trials[5] = a_trial(5, states[2], progress="epoch 3 of 8")
    search = a_search(searches_pb2.SEARCH_STATE_RUNNING, best_trial_id="t-3")
    return convert.search(search, tuple(convert.trial(trial) for trial in trials))


def drawn(search: Search, console: Console) -> str:
    display = LiveTable(console)
    with display:
        display.show(search)
    return console.file.getvalue()


def test_the_live_view_shows_stage_figures_and_the_best_so_far():
    picture = drawn(the_search(), terminal())
    assert "trainings 3  measurements 5" in picture
    assert "feasible, best so far" in picture
    assert "2.00mJ est." in picture
    assert "1.00ms ±10%" in picture
    assert "6.0 times smaller than the baseline" in picture


def test_a_figure_over_its_budget_is_marked_by_more_than_a_colour():
    assert "! 4.00ms" in drawn(the_search(), terminal())


def test_a_view_of_a_hundred_trials_fits_the_terminal():
    search = a_large_search(100)
    shown = shown_trials(search, maximum=6)
    assert [trial.number for trial in shown] == [0, 3, 5, 97, 98, 99]
    assert "epoch 3 of 8" in drawn(search, terminal(height=12))


def test_all_trials_are_written_in_full_where_there_is_no_terminal():
    console = Console(file=io.StringIO(), width=1000)
    print_trials(console, a_large_search(100))
    assert len(console.file.getvalue().splitlines()) == 101


def test_a_display_suits_where_it_is_shown():
    kinds = [
        display_for(terminal()),
        display_for(Console(file=io.StringIO())),
        display_for(terminal(), as_json=True),
    ]
    assert [type(kind).__name__ for kind in kinds] == ["LiveTable", "PlainLines", "JsonLines"]


def test_text_of_others_is_no_markup():
    search = a_search(searches_pb2.SEARCH_STATE_RUNNING)
    trial = a_trial(0, searches_pb2.TRIAL_STATE_BUILDING, title="[bold]x[/bold]", progress="\x1b[2J")
    picture = drawn(convert.search(search, (convert.trial(trial),)), terminal())
    assert "[bold]x[/bold]" in picture
    assert "\x1b[2J" not in picture


def test_a_comparison_names_the_source_of_each_figure():
    console = Console(file=io.StringIO(), width=200)
    search = the_search()
    print_comparison(console, search, search.best, title="winner")
    lines = {line.split("  ")[0]: line for line in console.file.getvalue().splitlines()}
    assert lines["latency p95"].rstrip().endswith("measured")
    assert lines["energy"].rstrip().endswith("estimated")
    assert "-83%" in lines["size"]
    assert "-0.5 pt" in lines["accuracy"]
    assert "no sensor took part" in console.file.getvalue()


def test_a_figure_from_a_device_that_was_not_quiet_is_called_noisy_with_the_reason():
    script = Script()
    a_finished_search(script)
    latency = script.trials[1].measurements["my-pi"].latency
    latency.quality = measurement_pb2.QUALITY_LOW
    latency.remarks.append("reference moved by +9%")
    search = convert.search(script.searches[0], tuple(convert.trial(trial) for trial in script.trials))
    console = Console(file=io.StringIO(), width=200)
    print_comparison(console, search, search.best, title="winner")
    assert "measured and measured, noisy" in console.file.getvalue()
    assert "latency p95: reference moved by +9%" in console.file.getvalue()


def test_on_a_narrow_terminal_no_figure_is_cut():
    console = terminal(width=80)
    search = the_search()
    picture = drawn(search, console)
    assert "! 4.00ms ±10%" in picture
    assert "97.5%" in picture
    print_comparison(console, search, search.best, title="winner")
    assert "4.00ms ±10%" in console.file.getvalue()
    assert "estimated" in console.file.getvalue()


@pytest.mark.parametrize("closest", [True, False])
def test_a_search_without_a_winner_says_what_missed(closest):
    search = the_search(feasible=False)
    if not closest:
        search = convert.search(a_search(searches_pb2.SEARCH_STATE_INFEASIBLE, reason="no candidate was judged"))
    error = no_winner(search)
    expected = "over the budget of 2.00ms by 37.5%" if closest else "no candidate was judged"
    assert expected in error.message
    assert error.exit_code == 3
