# Everything happens in .venv, which is made by the first target that needs it: Python 3.11 or later and make are enough.
PYTHON ?= python3
BIN := .venv/bin
TOO_OLD := import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or later is needed, {sys.executable} is {sys.version.split()[0]}: make PYTHON=…")
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# modules are compiled once, not anew by each of the hundreds of processes that the tests start
unexport PYTHONDONTWRITEBYTECODE

# three workers for two cores: tests of live runs and of the browser, which share one worker, mostly wait
PARALLEL := -n 3 --dist loadgroup

CHROMIUM := $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name) 2>/dev/null)))

# the language server that editors ask about YAML
NPM := $(shell command -v npm 2>/dev/null)

JAVA := $(shell command -v java 2>/dev/null)

.PHONY: demo test pytest coverage docs site pictures looks recipes lacking shapes package pyright test-slow test-memory test-crash test-spark test-browser fuzz chromium editor test-lowest test-newest check house format bench clean

demo: .venv/.installed  ## replay the sample flows over sample data
	$(BIN)/flowdsl demo

# the tests in the browser run where Chromium is installed, those of editors where npm
# is, those of Spark where Java is; elsewhere they are skipped
test: check pytest  ## lint, format, types and the everyday tests

pytest: .venv/.tests-installed $(if $(CHROMIUM),.venv/.browser-installed) $(if $(NPM),.venv/.editor-installed) $(if $(JAVA),.venv/.spark-installed)
	$(BIN)/pytest $(PARALLEL)

coverage: .venv/.tests-installed  ## the everyday tests, which are to reach 95 % of the lines
	$(BIN)/pytest $(PARALLEL) --cov --cov-report=term:skip-covered

docs: .venv/.tests-installed site  ## run the examples in docs, docstrings and notebooks, and build the site
	$(BIN)/pytest tests/test_readme.py tests/test_notebooks.py
	$(BIN)/pytest tests/test_repository.py -k examples

# a broken link, an undocumented parameter or a public name that is on no page is an error
site: .venv/.docs-installed  ## build the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pictures: .venv/.browser-installed chromium  ## draw the pictures of README.md anew
	$(BIN)/python docs/make_pictures.py

lacking: .venv/.tests-installed  ## write the table of what production lacks into docs/export.md
	$(BIN)/python docs/make_lacking.py

shapes: .venv/.tests-installed  ## write the table of known shapes into docs/data.md
	$(BIN)/python docs/make_shapes.py

recipes: .venv/.tests-installed  ## make the notebook of recipes out of docs/recipes.md
	$(BIN)/python docs/make_notebook.py

# notebooks run as a new user runs them: copied out of the installation, far from the clone and its history
package: .venv/.tests-installed  ## build the wheel and the sdist, and try each in an environment of its own
	rm -rf build dist
	$(BIN)/python -m build --outdir dist .
	for made in dist/*; do \
	  rm -rf build/tried build/sample build/tried-notebooks && $(PYTHON) -m venv build/tried && \
	  build/tried/bin/pip install --quiet --disable-pip-version-check "$$made" && \
	  build/tried/bin/flowdsl demo build/sample --events 2000 && \
	  build/tried/bin/flowdsl replay build/sample/flows.yaml --log build/sample/events.parquet --graph build/sample/graph \
	    --allow-failures --report build/report.html && \
	  build/tried/bin/pip install --quiet --disable-pip-version-check "$$made[notebook,live]" nbconvert ipykernel && \
	  build/tried/bin/flowdsl notebooks build/tried-notebooks && \
	  build/tried/bin/jupyter nbconvert --log-level WARN --to notebook --execute --output-dir build/executed \
	    build/tried-notebooks/*.ipynb || exit 1; \
	done

# the long forms of everyday tests: every recorded run, many more random examples, every notebook in the browser
test-slow: .venv/.tests-installed $(if $(CHROMIUM),.venv/.browser-installed)  ## what is marked slow
	$(BIN)/pytest $(PARALLEL) -m slow
	FLOWDSL_HYPOTHESIS=long $(BIN)/pytest $(PARALLEL) -m 'hypothesis and not slow and not spark'

test-browser: chromium .venv/.browser-installed  ## notebooks in a real JupyterLab in Chromium; pictures of them in build/screenshots
	FLOWDSL_SCREENSHOTS=build/screenshots $(BIN)/pytest tests/browser

looks: chromium .venv/.looks-installed  ## photograph what is shown on every surface, light and dark, into build/looks
	$(BIN)/pytest tests/browser/test_widgets_in_marimo.py
	$(BIN)/python -m tests.browser.looks build/looks

chromium:
ifeq ($(CHROMIUM),)
	@test "$$(id -u)" = 0 && command -v apt-get >/dev/null || { echo "install Chromium first, for instance: sudo apt-get install chromium"; exit 1; }
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core >/dev/null
endif

editor: .venv/.editor-installed  ## the yaml-language-server that tests/editor/package.json names, by npm

# what needs the tools of the repository, or looks at its form, is left out
PORTABLE := --ignore=tests/test_house.py --ignore=tests/test_repository.py --ignore=tests/test_typing.py --ignore=tests/browser

test-lowest:  ## the everyday tests with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/pip install --quiet --disable-pip-version-check packaging
	build/lowest/bin/python tests/lowest.py > build/lowest/constraints.txt
	build/lowest/bin/pip install --quiet --disable-pip-version-check --constraint build/lowest/constraints.txt '.[test]'
	build/lowest/bin/python -m pytest $(PARALLEL) $(PORTABLE)

test-newest:  ## the everyday tests with the newest versions that there are
	$(PYTHON) -m venv build/newest
	build/newest/bin/pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager '.[test]'
	build/newest/bin/python -m pytest $(PARALLEL) $(PORTABLE)

test-crash: .venv/.tests-installed  ## kill processes and fail calls of the system, many times (ROUNDS=300)
	FLOWDSL_CRASH_ROUNDS=$(or $(ROUNDS),300) $(BIN)/pytest -n 2 -m crash

test-spark: .venv/.spark-installed  ## replays on Apache Spark (needs Java 17)
	$(INSTALL) 'pyspark[connect]'
	$(BIN)/pytest tests/test_spark.py tests/test_spark_stages.py tests/test_spark_cluster.py -m 'spark or not slow'

fuzz: .venv/.tests-installed  ## a million random inputs for what a person, a file or a clock can hand in (INPUTS=1000000)
	$(BIN)/python -m tests.fuzz --inputs $(or $(INPUTS),1000000)

test-memory: .venv/.tests-installed  ## memory of a live run over ever new ids (MINUTES=30, by a simulated clock)
	$(BIN)/python -m tests.benchmarks.live_memory --minutes $(or $(MINUTES),30)

check: .venv/.tests-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/deptry .

pyright: .venv/.tests-installed  ## types once more, by the checker that editors use
	$(BIN)/pyright --pythonpath $(BIN)/python

format: .venv/.tests-installed  ## put the code into its form
	$(BIN)/python -m flowdsl.operators.generate
	$(BIN)/python -m flowdsl.expressions.generate
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

house: .venv/.tests-installed  ## what is measured of the code, beside its record and its goals
	$(BIN)/python -m tests.house

bench: .venv/.bench-installed  ## measure against hand-written queries and bytewax (about 15 minutes)
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf .venv data/sample .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info

.venv/.installed: pyproject.toml
	@$(PYTHON) -c '$(TOO_OLD)'
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	@touch $@

.venv/.tests-installed: .venv/.installed
	$(INSTALL) --editable '.[test]'
	@touch $@

.venv/.browser-installed: .venv/.tests-installed
	$(INSTALL) --editable '.[browser]'
	@touch $@

# where npm reaches no registry, the tests of editors are skipped
.venv/.editor-installed: tests/editor/package.json .venv/.installed
	@mkdir -p .venv/editor && cp $< .venv/editor/
	npm install --prefix .venv/editor --no-package-lock --no-audit --no-fund --silent && touch $@ \
	  || echo "no yaml-language-server: the tests of editors will be skipped" >&2

.venv/.looks-installed: .venv/.browser-installed
	$(INSTALL) --editable '.[looks]'
	@touch $@

.venv/.docs-installed: .venv/.installed
	$(INSTALL) --editable '.[docs]'
	@touch $@

.venv/.spark-installed: .venv/.tests-installed
	$(INSTALL) --editable '.[spark]'
	@touch $@

.venv/.bench-installed: .venv/.installed
	$(INSTALL) --editable '.[bench]'
	@touch $@
