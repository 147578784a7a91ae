"""The style sheet of a report: light or dark as the reader prefers, in a notebook as that is, and on paper light."""

from __future__ import annotations

from typing import Final

from flowdsl.charts.chart import SERIES, chart_style
from flowdsl.diagrams.palette import DARK, LIGHT, MONO, SANS, Scheme

ROOT: Final = "fd-report"
# twice, to come before what JupyterLab says of all tables
_R: Final = f".{ROOT}.{ROOT}"
# a notebook in its own scheme, whatever the machine prefers
_LIGHT_PLACES: Final = ('[data-jp-theme-light="true"]', ".vscode-light")
_DARK_PLACES: Final = ('[data-jp-theme-light="false"]', ".vscode-dark")

_RULES: Final = f"""
{_R}{{max-width:1040px;margin:0 auto;padding:20px 24px 28px;box-sizing:border-box;font:14px/1.5 {SANS};
 color:var(--ink);background:var(--paper);border-radius:10px;font-variant-numeric:tabular-nums}}
{_R} *{{box-sizing:border-box}}
{_R} h1{{font-size:22px;line-height:1.25;font-weight:650;margin:0 0 2px;overflow-wrap:anywhere;color:inherit}}
{_R} h2{{font-size:16px;font-weight:650;margin:34px 0 4px;padding-top:12px;border-top:1px solid var(--rim);color:inherit}}
{_R} h3{{font-size:13.5px;font-weight:650;margin:16px 0 2px;overflow-wrap:anywhere;color:inherit}}
{_R} p{{margin:2px 0 8px;color:var(--soft);max-width:75ch}}
{_R} p.lead{{margin:0}}
{_R} b,{_R} strong{{color:var(--ink);font-weight:600}}
{_R} .code{{font:12.5px {MONO};overflow-wrap:anywhere}}
{_R} bdi{{unicode-bidi:isolate;overflow-wrap:anywhere}}
{_R} .tiles{{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:10px;margin:18px 0 14px}}
{_R} .tile{{border:1px solid var(--rim);border-radius:8px;padding:9px 12px;background:var(--lane)}}
{_R} .tile b{{display:block;font-size:21px;line-height:1.25;font-weight:650}}
{_R} .tile span{{color:var(--soft);font-size:12px;display:block;line-height:1.35}}
{_R} .tile.bad b{{color:var(--failed)}}
{_R} ul.notes{{list-style:none;margin:0 0 4px;padding:0}}
{_R} ul.notes li{{margin:0;padding:3px 0 3px 26px;position:relative;overflow-wrap:anywhere}}
{_R} ul.notes li::before{{content:"•";position:absolute;left:8px;color:var(--soft)}}
{_R} ul.notes li.bad::before{{content:"!";left:2px;top:5px;width:17px;height:17px;line-height:17px;border-radius:50%;
 text-align:center;font-weight:700;font-size:12px;color:var(--paper);background:var(--failed)}}
{_R} .wide{{overflow-x:auto;margin:8px 0}}
{_R} .wide svg,{_R} .wide img{{display:block;margin:0 auto}}
{_R} svg.chart,{_R} img{{display:block;margin:2px 0 6px}}
{_R} table{{border-collapse:collapse;margin:0;width:100%;font-size:13px;border:0;table-layout:auto}}
{_R} tr,{_R} tbody tr:nth-child(n){{background:none;border:0}}
{_R} th,{_R} td{{padding:4px 14px 4px 0;text-align:left;vertical-align:top;border:0;border-bottom:1px solid var(--rim);
 white-space:normal;max-width:none;min-width:8em;overflow-wrap:anywhere}}
{_R} th{{font-weight:600;color:var(--soft);font-size:12px;vertical-align:bottom}}
{_R} td.n,{_R} th.n{{text-align:right;white-space:nowrap;overflow-wrap:normal;min-width:0}}
{_R} th.n{{white-space:normal}}
{_R} tr>:last-child{{padding-right:0}}
{_R} td.bar{{width:20%;min-width:70px;padding-top:10px}}
{_R} td.bar i{{display:block;height:9px;border-radius:2px;background:var(--bar);min-width:2px}}
{_R} .two{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:0 28px}}
{_R} .cards{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,232px),1fr));gap:10px;margin:6px 0 12px}}
{_R} .card{{border:1px solid var(--rim);border-radius:8px;padding:9px 12px;background:var(--lane);font-size:13px;
 overflow-wrap:anywhere;min-width:0}}
{_R} .card .why{{font-weight:600;font-size:12px}}
{_R} .card .of{{color:var(--soft);font-size:12px;border-bottom:1px solid var(--rim);padding-bottom:5px;margin-bottom:5px}}
{_R} .field{{color:var(--soft);font-size:11.5px;line-height:1.3;margin-top:4px}}
{_R} .value{{white-space:pre-wrap}}
{_R} details{{margin:2px 0 8px;border:0;padding:0;background:none}}
{_R} summary{{cursor:pointer;color:var(--link);width:fit-content;font-weight:400;padding:0;margin:0;background:none}}
{_R} .none{{color:var(--soft)}}
{_R} footer{{margin-top:26px;padding-top:10px;border-top:1px solid var(--rim);color:var(--soft);font-size:12px}}
"""
_PRINT: Final = f"""
{_R}{{max-width:none;padding:0;font-size:11.5px;border-radius:0}}
{_R} h2,{_R} h3{{break-after:avoid}}
{_R} .card,{_R} .tile,{_R} tr,{_R} svg,{_R} img,{_R} li{{break-inside:avoid}}
{_R} .wide{{overflow:visible}}
{_R} .wide svg{{max-height:135mm}}
{_R} .tiles{{grid-template-columns:repeat(auto-fit,minmax(22mm,1fr));gap:6px;margin:10px 0}}
{_R} .tile{{padding:5px 7px}}
{_R} .tile b{{font-size:16px}}
{_R} .tile span{{font-size:9.5px}}
{_R} h2{{margin-top:20px}}
{_R} .tile,{_R} td.bar i,{_R} .card,{_R} svg,{_R} li::before{{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
{_R} details::details-content{{content-visibility:visible;height:auto}}
"""
_PAGE: Final = """
@page{margin:14mm}
html{color-scheme:light dark}
body{margin:0;background:#eef1f4}
@media screen and (prefers-color-scheme:dark){body{background:#010409}}
@media screen{body{padding:22px 12px}}
@media print{body{background:#fff}}
"""


def report_style() -> str:
    """The style sheet of a report, every rule below its root."""
    light, dark = _scheme(LIGHT), _scheme(DARK)
    parts = [
        f"{_R}{{{light}}}",
        _RULES,
        f"@media screen and (prefers-color-scheme:dark){{{_R}{{{dark}}}}}",
        "@media screen{",
        *(f"{place} {_R}{{{light}}}" for place in _LIGHT_PLACES),
        *(f"{place} {_R}{{{dark}}}" for place in _DARK_PLACES),
        "}",
        f"@media print{{{_PRINT}}}",
    ]
    return "".join(parts)


def page_style() -> str:
    """What a page of its own needs besides: its ground, its margins on paper, and the style of the charts in it."""
    return _PAGE + chart_style(f"{_R} .chart")


def _scheme(scheme: Scheme) -> str:
    names = ("paper", "lane", "rim", "ink", "soft", "failed")
    side = 0 if scheme is LIGHT else 1
    own = "".join(f"--{name}:{scheme[name]};" for name in names)
    return f"{own}--bar:{SERIES[0][side]};--link:{scheme['look']};color-scheme:{'light' if side == 0 else 'dark'}"
