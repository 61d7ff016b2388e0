"""The report as text for a person at a terminal."""

from __future__ import annotations

from gateway.report.latency import Latency, Quantiles
from gateway.report.summary import Report, ServiceFigures

_TRY = (
    ("status", "every part, asked by a real read or write"),
    ("sample replay --rows 500 --rate 10", "more payments arrive"),
    ("app create shop --services {service}", "an app id and token for the API"),
    ("feast feature-services list", "what Feast knows"),
    ("model show {service}", "the model that serves"),
    ("down", "stop everything; `up` goes on where it was"),
)


def _next(report: Report) -> list[str]:
    service = report.services[0].service if report.services else "SERVICE"
    calls = [(f"{report.command} {words.format(service=service)}", why) for words, why in _TRY]
    width = max(len(call) for call, _ in calls)
    return ["What to try next", *(f"  {call:<{width}}  {why}" for call, why in calls)]


def _quantiles(name: str, figures: Quantiles | None) -> str:
    if figures is None:
        return f"  {name:<22} not measured"
    return f"  {name:<22} p50 {figures.p50_ms:.0f} ms, p99 {figures.p99_ms:.0f} ms ({figures.rows:,} rows)"


def of_latency(latency: Latency) -> str:
    """Two lines of quantiles, and what was odd."""
    lines = [_quantiles("commit → servable", latency.servable), _quantiles("commit → score", latency.scored)]
    if latency.behind or latency.unseen:
        lines.append(
            f"  scored before their features had caught up: {latency.behind}; not yet servable: {latency.unseen}"
        )
    return "\n".join(lines)


def _service(figures: ServiceFigures) -> list[str]:
    scored = ", ".join(f"{count:,} by {way}" for way, count in sorted(figures.scored.items())) or "none yet"
    decided = ", ".join(f"{count:,} {decision}" for decision, count in sorted(figures.decisions.items()))
    lines = [
        f"Service {figures.service}",
        f"  scored                 {scored}",
        f"  alerted                {figures.alerted:,}" + (f"   (decisions: {decided})" if decided else ""),
    ]
    if figures.model is None:
        lines.append("  model                  none yet (`model train` makes one)")
    else:
        later = figures.model.later_data
        lines.append(f"  model                  {figures.model.model} version {figures.model.version}")
        lines.append(
            f"  on later unseen data   AUC ROC {later.auc_roc:.3f}, average precision {later.average_precision:.3f}"
            f" ({later.rows:,} rows, {later.positives:,} frauds, {later.days} days)"
        )
    if figures.latency is not None:
        lines.append(of_latency(figures.latency))
    return lines


def of_report(report: Report) -> str:
    """The whole report."""
    captured = [f"  {table:<34} {count:>12,} changes" for table, count in sorted(report.captured.items())]
    services = [line for service in report.services for line in _service(service)]
    where = [
        f"Console   {report.console}   (user and password: `{report.command} console password`)",
        f"API       {report.api_docs}",
    ]
    return "\n".join([*where, "", "Captured", *captured, "", *services, "", *_next(report)])
