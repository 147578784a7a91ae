#!/usr/bin/env bash
# Checking imports with import-linter inside of a process switches off every logger that exists by then.
#
# One would guess: importlinter.cli.lint_imports, called from a test, reads source files and returns 0 or 1. At most it sets
# up its own loggers.
#
# What happens (import-linter 2.17): it calls logging.config.dictConfig without `disable_existing_loggers: False`, and the
# default of that is True. All loggers that modules made before have `disabled = True` afterwards, at every level, for the
# rest of the process; handlers and levels look untouched. Loggers made later work.
#
# Why it matters here: the rules of an architecture are checked from the test suite, in one process with tests that expect a
# warning in the log. These fail only if the check ran earlier: alone, in another order or on another worker they pass, and
# a test that asserts that nothing was logged can no longer fail. Run the check in a process of its own, or set
# `disabled` back afterwards.
#
# Source: _configure_logging in https://github.com/seddonym/import-linter/blob/main/src/importlinter/cli.py;
# https://docs.python.org/3/library/logging.config.html#logging-config-dictschema (disable_existing_loggers);
# https://import-linter.readthedocs.io/ does not mention it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check import-linter==2.17
mkdir "$folder/shop"
touch "$folder/shop/__init__.py" "$folder/shop/orders.py" "$folder/shop/mail.py"
cat >"$folder/.importlinter" <<'INI'
[importlinter]
root_package = shop

[importlinter:contract:1]
name = Orders know nothing of mail
type = forbidden
source_modules = shop.orders
forbidden_modules = shop.mail
INI
cd "$folder"
PYTHONPATH=. venv/bin/python - <<'PYTHON'
import logging

from importlinter.cli import lint_imports

logger = logging.getLogger("shop.orders")
before = logger.isEnabledFor(logging.ERROR)
status = lint_imports(no_cache=True)
after = logger.isEnabledFor(logging.ERROR)
later = logging.getLogger("shop.mail").isEnabledFor(logging.ERROR)
print(f"errors are logged: before {before}, after {after}, by a logger made afterwards {later}")
raise SystemExit(0 if (status, before, after, later) == (0, True, False, True) else "this is no longer so")
PYTHON
