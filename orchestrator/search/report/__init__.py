"""The report of a search: one HTML file for whoever decides from it."""

from orchestrator.search.report.page import render_report

__all__ = ["render_report"]
