"""The report of a search: one HTML file that holds all it shows, for whoever decides from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from orchestrator.fleet.device import Device
from orchestrator.fleet.measurement import Measurement
from orchestrator.quantity import format_bytes, format_duration
from orchestrator.search.report.pictures import accuracy_picture, latency_picture
from orchestrator.search.report.scatter import GEOMETRY
from orchestrator.search.report.views import (
    bars_of,
    comparison_of,
    conditions_of,
    passes_of,
    row_of,
    size_shares,
)
from orchestrator.search.search import Search, SearchState
from orchestrator.search.trial import Trial, TrialState

_TEMPLATES = Environment(
    loader=PackageLoader("orchestrator.search.report", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

_HEADLINES = {
    SearchState.RUNNING: "The search is still running",
    SearchState.SUCCEEDED: "holds every budget",
    SearchState.INFEASIBLE: "No candidate holds every budget",
    SearchState.FAILED: "The search failed",
    SearchState.CANCELLED: "The search was cancelled",
}


def render_report(
    *,
    search: Search,
    trials: Sequence[Trial],
    measurements: Mapping[str, Mapping[str, Measurement]],
    devices: Sequence[Device],
) -> bytes:
    """The report as UTF-8 HTML. It loads nothing from anywhere and runs no script.

    Args:
        search: The search, ended or not.
        trials: All of its trials by number.
        measurements: By the trial's id, then by the device's name: the newest there is.
        devices: Those that measure.
    """
    baseline = next((trial for trial in trials if trial.number == 0), None)
    chosen = _chosen(search, trials)
    names = [device.name for device in devices]
    of_chosen = measurements.get(chosen.id, {}) if chosen else {}
    template = _TEMPLATES.get_template("report.html.j2")
    page = template.render(
        search=search,
        headline=_HEADLINES[search.state],
        metric=search.metric_name or "accuracy",
        devices=devices,
        chosen=chosen,
        is_winner=chosen is not None and chosen.state is TrialState.FEASIBLE,
        size=format_bytes(chosen.size_bytes) if chosen and chosen.size_bytes is not None else "",
        saving=_saving(baseline, chosen),
        sizes=size_shares(baseline, chosen),
        bars=bars_of(chosen, of_chosen) if chosen else (),
        facts=_facts(search, trials, measurements),
        comparison=comparison_of(baseline, chosen, measurements, names) if baseline and chosen else (),
        pictures=[
            *(latency_picture(search, trials, measurements, name, chosen) for name in names),
            accuracy_picture(search, trials, chosen),
        ],
        passes=passes_of(chosen) if chosen else (),
        rows=[row_of(trial, measurements.get(trial.id, {}), names, is_chosen=trial is chosen) for trial in trials],
        device_names=names,
        geometry=GEOMETRY,
        conditions=[conditions_of(device, of_chosen.get(device.name)) for device in devices],
        spec=search.spec.model_dump_json(indent=2, exclude_defaults=True),
    )
    return page.encode()


def _chosen(search: Search, trials: Sequence[Trial]) -> Trial | None:
    """The trial that the report is about: the best, else the closest."""
    wanted = search.best_trial_id or search.closest_trial_id
    return next((trial for trial in trials if trial.id == wanted), None)


def _saving(baseline: Trial | None, chosen: Trial | None) -> str:
    if baseline is None or chosen is None or baseline is chosen or not baseline.size_bytes or not chosen.size_bytes:
        return ""
    share = 1 - chosen.size_bytes / baseline.size_bytes
    return f"{share:.0%} smaller" if share >= 0 else f"{-share:.0%} larger"


def _facts(
    search: Search, trials: Sequence[Trial], measurements: Mapping[str, Mapping[str, Measurement]]
) -> tuple[tuple[str, str], ...]:
    """What the search cost and what came of it, as pairs of a name and a value."""
    counted = Counter(trial.state.value for trial in trials)
    trained = [trial.train_s for trial in trials if trial.train_s is not None]
    results = {found.result_id for by_device in measurements.values() for found in by_device.values()}
    facts = [
        ("candidates", f"{len(trials)}: " + ", ".join(f"{count} {state}" for state, count in sorted(counted.items()))),
        ("trained", f"{len(trained)} in {format_duration(sum(trained))}"),
        ("measurements shown", str(len(results))),
    ]
    if search.finished_at is not None:
        facts.append(("took", format_duration((search.finished_at - search.created_at).total_seconds())))
    if search.reason and (search.state is not SearchState.SUCCEEDED or "; " in search.reason):
        facts.append(("outcome", search.reason))
    return tuple(facts)
