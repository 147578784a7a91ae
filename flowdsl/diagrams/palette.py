"""The colours of pictures on light and dark backgrounds, and their style sheet.

Text has a contrast of at least 4.5 to 1, lines at least 3 to 1; tests check this. Rules name colours
directly, as not every program that shows SVG supports CSS variables. Printed pictures use the light colours.
"""

from __future__ import annotations

from typing import Final

Scheme = dict[str, str]

# each colour on light and on dark ground
_COLOURS: Final = {
    "paper": ("#ffffff", "#0d1117"),
    "rim": ("#d1d9e0", "#3d444d"),
    "lane": ("#f6f8fa", "#151b23"),
    "card": ("#ffffff", "#1c232c"),
    "edge": ("#d1d9e0", "#3d444d"),
    "ink": ("#1f2328", "#f0f6fc"),
    "soft": ("#59636e", "#a3adb8"),
    "band": ("#6a8fc0", "#5480b8"),
    "trigger": ("#6639ba", "#d2a8ff"),
    "look": ("#0a63c2", "#79c0ff"),
    "fan": ("#0b6e6e", "#56d4dd"),
    "where": ("#8a5a00", "#e3b341"),
    "time": ("#a8326f", "#f98fc6"),
    "map": ("#57606a", "#b4bec9"),
    "sink": ("#1a7f37", "#56d364"),
    "dropped": ("#59636e", "#a3adb8"),
    "failed": ("#c21f2c", "#ff8880"),
    "absorbed": ("#6639ba", "#d2a8ff"),
    "held": ("#8a5a00", "#e3b341"),
    "branches": ("#0b6e6e", "#56d4dd"),
    "passed": ("#1a7f37", "#56d364"),
    "stopped": ("#c21f2c", "#ff8880"),
    # more or less of something is neither good nor bad
    "added": ("#0a63c2", "#79c0ff"),
    "removed": ("#59636e", "#a3adb8"),
    "changed": ("#8a5a00", "#e3b341"),
    "better": ("#1a7f37", "#56d364"),
    "worse": ("#c21f2c", "#ff8880"),
}
LIGHT: Final[Scheme] = {name: light for name, (light, _) in _COLOURS.items()}
DARK: Final[Scheme] = {name: dark for name, (_, dark) in _COLOURS.items()}
FAMILIES: Final = ("trigger", "look", "fan", "where", "time", "map", "sink")
LEAVES: Final = ("dropped", "failed", "absorbed", "held", "branches")
TONES: Final = ("passed", "stopped", "added", "removed", "changed", "better", "worse")
SANS: Final = 'system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Arial,sans-serif'
MONO: Final = 'ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace'

# selectors for the theme of a page: JupyterLab, nbconvert, voila; VS Code; marimo; Colab; mkdocs-material
LIGHT_PAGES: Final = (
    '[data-jp-theme-light="true"]',
    ".vscode-light",
    ".vscode-high-contrast-light",
    '[data-theme="light"]',
    '[theme="light"]',
    '[data-md-color-scheme="default"]',
)
DARK_PAGES: Final = (
    '[data-jp-theme-light="false"]',
    ".vscode-dark",
    ".vscode-high-contrast:not(.vscode-high-contrast-light)",
    '[data-theme="dark"]',
    '[theme="dark"]',
    '[data-md-color-scheme="slate"]',
)


def page_scheme(root: str) -> str:
    """Return the CSS rules that give a part of a page the theme of the page, or else that of the reader.

    SVG images in this part follow its theme.
    """
    rules = f"{root}{{color-scheme:light dark}}"
    for scheme, pages in (("light", LIGHT_PAGES), ("dark", DARK_PAGES)):
        rules += f"{','.join(f'{page} {root}' for page in pages)}{{color-scheme:{scheme}}}"
    return rules


def style(root: str) -> str:
    """Return the style sheet of one picture, with every rule below the class of its root."""
    fixed = [
        f".t{{font-family:{SANS};unicode-bidi:isolate}}",
        f".m{{font-family:{MONO}}}",
        ".b{font-weight:600}",
        ".n{font-variant-numeric:tabular-nums}",
        ".l{fill:none;stroke-linejoin:round;stroke-linecap:round}",
        ".flat{stroke-linecap:butt}",
        ".none{stroke-dasharray:3 4}",
    ]
    rules = [*fixed, *_scheme_rules(LIGHT)]
    dark = "".join(f"{root} {rule}" for rule in _scheme_rules(DARK))
    return (
        "".join(f"{root} {rule}" for rule in rules)
        + f"@media screen and (prefers-color-scheme:dark){{{dark}}}"
    )


def _scheme_rules(scheme: Scheme) -> list[str]:
    """Return the rules of a scheme: `.ink` fills text, `.k-…` fills and `.s-…` strokes with a colour."""
    rules = [
        f".paper{{fill:{scheme['paper']};stroke:{scheme['rim']}}}",
        f".lane{{fill:{scheme['lane']};stroke:none}}",
        f".card{{fill:{scheme['card']};stroke:{scheme['edge']}}}",
        f".halo{{paint-order:stroke;stroke:{scheme['lane']};stroke-width:3px;stroke-linejoin:round}}",
        f".glyph{{fill:none;stroke:{scheme['card']};stroke-linejoin:round;stroke-linecap:round}}",
    ]
    for name in ("ink", "soft", "band", *FAMILIES, *LEAVES, *TONES):
        rules.append(f".k-{name}{{fill:{scheme[name]}}}")
        rules.append(f".s-{name}{{stroke:{scheme[name]}}}")
    return rules
