import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from orchestrator.search.report import render_report
from orchestrator.search.report.scatter import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Point, lay_out
from orchestrator.search.search import SearchState
from tests.orchestrator.search.finished_searches import Finished, a_finished_search
from tests.orchestrator.search.scenes import a_device

_VOID = {"meta", "link", "br", "path", "rect", "circle", "line"}


class Page(HTMLParser):
    """A page that must be well formed: every element is closed by its own end tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def count(self, tag: str, **attributes: str) -> int:
        wanted = attributes.items()
        return sum(1 for name, found in self.elements if name == tag and wanted <= found.items())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)


def a_page(finished: Finished, **changes: Any) -> Page:
    return Page(html_of(finished, **changes))


def html_of(finished: Finished, **changes: Any) -> str:
    html = render_report(
        search=replace(finished.search, **changes),
        trials=finished.trials,
        measurements=finished.measurements,
        devices=finished.devices,
    )
    return html.decode()


def test_the_winner_and_what_it_saves_come_first() -> None:
    page = a_page(a_finished_search())
    assert page.text.index("6.51kB holds every budget") < page.text.index("Baseline and winner")
    assert "distill 0.35 + int8 , trial 10, 89% smaller than the baseline" in page.text
    assert "Budgets, and what the winner uses of them" in page.text


def test_every_budget_says_what_is_used_and_how_far_that_may_be_trusted() -> None:
    page = a_page(a_finished_search())
    sentences = [
        attributes["aria-label"] for tag, attributes in page.elements if tag == "div" and "aria-label" in attributes
    ]
    assert sentences == [
        "size is 6.51kB, within its budget of 32.0kB",
        "latency p95 on pi-4b is 181us, within its budget of 500us",
        "energy on pi-4b is 660uJ, within its budget of 2.00mJ",
        "peak memory on pi-4b is 40.0MB, within its budget of 67.1MB",
        "accuracy is 0.9722, not below its floor of 0.9689",
    ]
    assert "energy on pi-4b 660uJ estimated" in page.text
    assert "energy per inference 1.90mJ estimated" in page.text
    assert "latency p95 482us measured" in page.text


def test_every_trial_says_why_it_ended() -> None:
    finished = a_finished_search()
    page = a_page(finished)
    for trial in finished.trials:
        assert trial.title in page.text
        assert trial.reason in page.text
    assert "the smallest that holds every budget: the winner" in page.text


def test_every_picture_has_a_table_with_the_same_figures() -> None:
    html = html_of(a_finished_search())
    figures = re.findall(r"<figure.*?</figure>", html, flags=re.DOTALL)
    assert len(figures) == 2
    for figure in figures:
        drawn = re.findall(r"<g><title>trial (\d+), ", figure)
        rows = re.findall(r"<tr><td>(\d+)</td>", figure)
        assert sorted(drawn, key=int) == rows != []
        assert drawn[-1] == "10", "the winner is on top"
        assert 'role="img"' in figure
        assert re.search(r"<desc id=.*?>.+</desc>", figure)


def test_feasible_and_infeasible_differ_in_shape_and_the_winner_has_a_ring() -> None:
    page = a_page(a_finished_search())
    assert page.count("circle", **{"class": "ring"}) == 2 + 1, "one in each picture, one in the legend"
    assert page.count("circle", **{"class": "shape feasible"}) > 3
    assert page.count("path", **{"class": "shape infeasible"}) > 3
    assert page.count("rect", **{"class": "shape baseline"}) == 2 + 1 + 1, "and one in the table of trials"


def test_what_the_winner_is_made_of_is_told_pass_by_pass() -> None:
    text = a_page(a_finished_search()).text
    assert "What the winner is made of" in text
    assert "13,706 → 7,538" in text
    assert "30.2kB → 8.14kB" in text


def test_conditions_are_told_for_each_device() -> None:
    finished = a_finished_search(devices=(a_device("pi-4b"), a_device("jetson", board="Jetson Orin Nano")))
    text = a_page(finished).text
    for words in (
        "Jetson Orin Nano · aarch64",
        "onnxruntime 1.32.0",
        "CPUExecutionProvider",
        "200 after 10 to warm up",
    ):
        assert words in text
    assert "Size and latency on jetson" in text
    assert "latency p95 on jetson" in text


def test_where_nothing_is_feasible_the_closest_is_shown_with_what_it_misses() -> None:
    finished = a_finished_search(budgets={"latency_p95": "0.15ms"})
    page = a_page(finished)
    assert finished.search.state is SearchState.INFEASIBLE
    assert "No candidate holds every budget" in page.text
    assert "Closest: distill 0.35 + int8" in page.text
    assert "20% over" in page.text
    assert page.count("circle", **{"class": "ring"}) == 1, "there is no winner to be ringed"


@pytest.mark.parametrize("state", [SearchState.RUNNING, SearchState.FAILED, SearchState.CANCELLED])
def test_a_search_without_any_result_still_has_a_report(state: SearchState) -> None:
    finished = a_finished_search()
    empty = replace(
        finished, trials=tuple(replace(t, state=t.state, accuracy=None) for t in finished.trials[:0]), measurements={}
    )
    page = a_page(empty, state=state, reason="digits.py:12: train_data() raised KeyError", best_trial_id="")
    assert "digits.py:12: train_data() raised KeyError" in page.text
    assert "There is nothing to draw" in page.text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    html = html_of(a_finished_search())
    page = Page(html)
    assert page.count("script") == 0
    assert not re.search(r"https?://|url\(|@import|src=", html)
    assert [attributes.get("href") for tag, attributes in page.elements if tag == "link"] == ["data:,"]
    assert "default-src 'none'" in html


def test_what_users_named_cannot_become_markup() -> None:
    finished = a_finished_search()
    evil = "<script>alert(1)</script>"
    trials = tuple(replace(trial, title=evil, reason=evil) for trial in finished.trials)
    html = render_report(
        search=replace(finished.search, name=evil, workload_filename=evil, metric_name=evil, reason=evil),
        trials=trials,
        measurements=finished.measurements,
        devices=[replace(device, name=device.name) for device in finished.devices],
    ).decode()
    assert Page(html).count("script") == 0


def test_the_report_follows_the_reader_s_light_or_dark() -> None:
    assert "prefers-color-scheme: dark" in html_of(a_finished_search())


def test_a_plot_keeps_marks_ticks_and_limits_inside() -> None:
    plot = a_plot([(1_000, 0.1), (90_000, 0.9)], limit=0.5)
    for mark in plot.marks:
        assert LEFT <= mark.x <= WIDTH - RIGHT
        assert TOP <= mark.y <= HEIGHT - BOTTOM
    assert plot.marks[0].x < plot.marks[1].x
    assert plot.marks[0].y > plot.marks[1].y, "higher is further up"
    assert len(plot.x_ticks) >= 3
    assert len(plot.y_ticks) >= 3
    assert plot.y_limit is not None
    assert plot.y_limit.drawn
    assert TOP < plot.y_limit.position < HEIGHT - BOTTOM


def test_a_limit_far_away_is_named_and_does_not_squeeze_the_data() -> None:
    plot = a_plot([(1_000, 0.1), (2_000, 0.2)], limit=20.0)
    assert plot.y_limit is not None
    assert not plot.y_limit.drawn
    assert plot.y_limit.position == TOP
    assert abs(plot.marks[0].y - plot.marks[1].y) > (HEIGHT - TOP - BOTTOM) / 2


@pytest.mark.parametrize("values", [[(5, 5)], [(5, 5), (5, 5)], [(0, 0), (10, 0)], [(1, -3), (1e9, 4)]])
def test_a_plot_of_any_values_can_be_drawn(values: list[tuple[float, float]]) -> None:
    plot = a_plot(values, limit=None)
    assert len(plot.marks) == len(values)


def test_labels_cover_neither_marks_nor_each_other() -> None:
    plot = a_plot([(x, y) for x in (10, 11, 12) for y in (1.0, 1.02, 1.04)], limit=None)
    labelled = [mark for mark in plot.marks if mark.label_anchor is not None]
    assert labelled
    for mark in labelled:
        for other in plot.marks:
            assert abs(mark.label_x - other.x) > 5 or abs(mark.label_y - other.y) > 5


def a_plot(values: list[tuple[float, float]], *, limit: float | None) -> Any:
    points = [Point(x=x, y=y, label=str(n), kind="feasible", title="") for n, (x, y) in enumerate(values)]
    plain = "{:g}".format
    plot = lay_out(points, x_axis=Axis(title="x", format=plain), y_axis=Axis(title="y", format=plain, limit=limit))
    assert plot is not None
    return plot
