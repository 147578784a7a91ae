"""The explorer and the designer, used with mouse and keyboard in Chromium."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbclient import NotebookClient

import flowdsl as fd
from flowdsl.samples.datasets import sample_in
from tests.browser.panels import added_step

START = """
import flowdsl as fd
from flowdsl.samples import write_sample
sample = write_sample("sample-data", events=3000)
graph = fd.read_graph(sample.graph)
flow = next(flow for flow in fd.load(sample.flows).flows if flow.name == "notify-like")
"""
BY_HAND = """# yaml-language-server: $schema=flowdsl.schema.json
events:
  flows:
    - name: notify-like
      trigger:
        kind: link.created
        link_type: likes
      pipeline:
        - resolve:
            from: target_id
            as: owner
            via: owns
            direction: reverse
        - resolve:
            from: source_id
            as: fan
        - filter:
            condition: source_id != owner.id
        - deduplicate:
            key: source_id
            window: 1h
        - batch:
            key: target_id
            window: 5m
        - map:
            template:
              recipient_id: "{{ owner.id }}"
              title: "{{ fan.name }} and {{ _batch.count }} others liked it"
        - deliver:
            sinks:
              - in-app
              - push
"""


def test_the_explorer_steps_through_an_event(notebook):
    shown = notebook(START, "explorer = flow.explore(sample.log, graph)\nexplorer", "print(explorer.seq_no)")
    assert shown.errors() == []
    panel = shown.output(1).locator(".flowdsl.explore")
    opened = panel.locator(".events tr.open .number").inner_text()
    assert opened == shown.output(2).inner_text().strip()
    # the static form is there for those who cannot see the widget, and hidden from those who can
    assert shown.output(1).locator("pre").filter(has_text="explore").count() == 0
    way = panel.locator(".way li")
    texts = [text.strip() for text in way.all_inner_texts()]
    assert "resolve('target_id', via='owns', direction='reverse', as_='owner')" in texts[1]
    panel.get_by_role("button", name="first step").click()
    panel.locator(".way li.open").filter(has_text="on('link.created'").wait_for()
    assert panel.locator(".detail tr.new").count() == 0
    panel.get_by_role("button", name="next step").click()
    new = panel.locator(".detail tr.new")
    new.wait_for()
    assert new.locator("th bdi").inner_text() == "owner"
    # the keyboard goes on from there
    panel.press("ArrowRight")
    panel.locator(".way li.open").filter(has_text="where").wait_for()
    operands = panel.locator(".detail section").filter(has_text="what it read")
    assert operands.locator("tr").first.inner_text().split() == ["source_id", "!=", "owner.id", "true"]
    panel.press("End")
    panel.locator(".way li.open").filter(has_text="deliver").wait_for()
    assert "liked" in panel.locator(".payload").inner_text()
    panel.press("ArrowDown")
    panel.locator(".events tr.open .number").filter(has_not_text=re.compile(f"^{opened}$")).wait_for()
    panel.get_by_title("go to the next event that was dropped").click()
    panel.locator(".way li.open.dropped").wait_for()
    panel.get_by_label("ending").select_option(
        label=panel.get_by_label("ending").locator("option").filter(has_text="failed at").inner_text()
    )
    panel.locator(".way li.open.failed").wait_for()
    assert set(panel.locator(".events .outcomes").all_inner_texts()) == {"failed"}
    number = panel.locator(".events tr.open .number").inner_text().replace(",", "")
    panel.get_by_role("searchbox").fill(number)
    panel.locator(".bar .quiet").filter(has_text="of 3,000 events").wait_for()
    panel.locator(".events tr.open .number").filter(has_text=number).wait_for()


def test_the_designer_builds_a_flow_from_nothing(notebook):
    shown = notebook(START, "designer = fd.design(sample.log, graph)\ndesigner", alone=True)
    assert shown.errors() == []
    page, panel = shown.page, shown.output(1).locator(".flowdsl.design")
    panel.get_by_label("name", exact=True).fill("notify-like")
    panel.get_by_label("kind").select_option("link.created")
    panel.get_by_label("type").select_option("likes")
    # the offer says how many events there are, and so many come
    offer = panel.get_by_label("type").locator("option").filter(has_text="likes").text_content()
    taken = re.search(r"[0-9,]+", offer).group()
    panel.locator(".trigger .counts").get_by_text(taken, exact=True).wait_for()

    # fields and link types are offered from the data: by keyboard and by mouse
    step = added_step(panel, "resolve")
    page.locator(".complete").wait_for()
    page.keyboard.type("targ")
    page.locator(".complete [role=option]").filter(has_text="target_id").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert step.get_by_label("resolve from").input_value() == "target_id"
    step.get_by_label("resolve as").fill("owner")
    step.get_by_label("resolve via").click()
    page.locator(".complete [role=option]").filter(has_text="owns").click()
    step.get_by_label("resolve direction").select_option("reverse")
    step.locator(".counts").filter(has_text=f"{taken} → {taken}").wait_for()

    step = added_step(panel, "resolve")
    step.get_by_label("resolve from").fill("source_id")
    step.get_by_label("resolve as").fill("fan")

    step = added_step(panel, "where")
    page.keyboard.type("source_id != own")
    page.locator(".complete [role=option]").filter(has_text="owner.id").click()
    assert step.get_by_label("where condition").input_value() == "source_id != owner.id"
    step.get_by_text("filtered").wait_for()

    step = added_step(panel, "deduplicate")
    step.get_by_label("deduplicate key").fill("source_id")
    step.get_by_label("deduplicate window").fill("1h")

    step = added_step(panel, "batch")
    step.get_by_label("batch key").fill("target_id")
    step.get_by_label("batch window").fill("5m")

    step = added_step(panel, "map")
    page.keyboard.type("{{ owner.i")
    page.locator(".complete [role=option]").filter(has_text="owner.id").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    assert step.get_by_label("field 1 text").input_value() == "{{ owner.id }}"
    page.keyboard.press("Enter")
    # the new row has the focus as soon as it is there
    page.wait_for_function("document.activeElement?.getAttribute('aria-label') === 'field 2 name'")
    step.get_by_label("field 2 name").fill("title")
    step.get_by_label("field 2 text").fill("{{ fan.name }} and {{ batch.count }} others liked it")
    step.locator(".preview").filter(has_text="others liked it").wait_for()

    step = added_step(panel, "deliver")
    step.get_by_label("deliver sinks").fill("in-app, push")
    step.locator(".mark.delivered").wait_for()
    panel.locator(".trial b").filter(has_text="deliveries").wait_for()
    delivered = int(
        panel.locator(".trial b").filter(has_text="deliveries").inner_text().split()[0].replace(",", "")
    )
    picture = panel.locator(".picture img")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 100

    panel.get_by_role("tab", name="YAML").click()
    source = panel.locator("[data-source=yaml]")
    source.wait_for()
    # a part of a file, which says so
    assert fd.load(source.text_content() or "").flows == fd.load(BY_HAND).flows
    panel.get_by_label("file").fill("designed.yaml")
    panel.get_by_role("button", name="save").click()
    panel.get_by_text("saved designed.yaml").wait_for()
    assert fd.load(shown.lab.folder / "designed.yaml").flows == fd.load(BY_HAND).flows
    # what it shows is what a replay of the flow by hand gives
    sample = sample_in(shown.lab.folder / "sample-data")
    by_hand = fd.replay(fd.load(BY_HAND), sample.log, fd.read_graph(sample.graph), progress=False)
    assert delivered == len(by_hand) > 100


def test_the_designer_shows_what_is_wrong_and_takes_it_back(notebook):
    shown = notebook(START, "designer = flow.design(sample.log, graph)\ndesigner", alone=True)
    assert shown.errors() == []
    panel = shown.output(1).locator(".flowdsl.design")
    condition = panel.get_by_label("where condition")
    assert condition.input_value() == "source_id != owner.id"
    condition.fill("source_id != ownr.id")
    panel.get_by_role("alert").filter(has_text="there is no variable 'ownr' at this step").wait_for()
    panel.get_by_text("did you mean 'owner'?").wait_for()
    condition.press("Control+z")
    panel.get_by_role("alert").wait_for(state="detached")
    assert condition.input_value() == "source_id != owner.id"
    condition.press("Alt+ArrowUp")
    panel.get_by_role("alert").filter(has_text="there is no variable 'owner' at this step").wait_for()
    panel.get_by_role("button", name="undo").click()
    panel.get_by_role("alert").wait_for(state="detached")


HOSTILE = """
import flowdsl as fd
bad = '<img src=x onerror="hacked=1"><script>hacked=1</script>'
long, rtl = "x" * 20_000, "\u202eتجربة"
graph = fd.EntityGraph({"user": {bad: {"name": bad, long: rtl, rtl: long}}}, [])
log = [
    {"timestamp": f"2026-01-01T00:00:{n:02}Z", "event": fd.link_created(bad, bad, rtl, metadata={bad: long, rtl: bad})}
    for n in range(9)
]
flow = (
    fd.on("link.created", name=bad, description=rtl)
    .resolve("source_id", as_="who")
    .where("source_id != target_id")
    .map({bad: "{{ who.name }}", rtl: "{{ source_id }}"})
    .deliver(bad)
)
"""


def test_hostile_names_are_text(notebook):
    shown = notebook(HOSTILE, "flow.explore(log, graph)", "flow.design(log, graph)", theme="dark")
    assert shown.errors() == []
    explorer = shown.output(1).locator(".flowdsl.explore")
    explorer.get_by_role("button", name="first step").click()
    for _ in range(4):
        explorer.get_by_role("button", name="next step").click()
    explorer.locator(".way li.open").filter(has_text="deliver").wait_for()
    designer = shown.output(2).locator(".flowdsl.design")
    designer.locator(".mark.delivered").wait_for()
    condition = designer.get_by_label("where condition")
    condition.fill("")
    condition.press("Control+Space")
    offers = shown.page.locator(".complete")
    offers.get_by_text("metadata.<img").wait_for()
    condition.press("Escape")
    for tab in ("Python", "YAML", "findings", "picture"):
        designer.get_by_role("tab", name=tab).click()
    for panel in (explorer, designer):
        assert panel.locator("script, img[src=x]").count() == 0
        assert panel.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), "it is wider than its place"
        assert "<img src=x" in panel.inner_text() + "".join(
            panel.locator("input").evaluate_all("all => all.map(e => e.value)")
        )
    assert shown.page.evaluate("typeof hacked") == "undefined"


def test_without_its_kernel_a_saved_widget_is_a_static_view(notebook, tmp_path):
    cells = [START, "flow.explore(sample.log, graph)", "designer = flow.design(sample.log, graph)\ndesigner"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    nbformat.write(book, tmp_path / "saved.ipynb")
    shown = notebook(tmp_path / "saved.ipynb", run=False)
    explorer, designer = (
        shown.output(cell).locator("pre").filter(has_text="link.created").first for cell in (1, 2)
    )
    explorer.wait_for()
    assert "notify-like: 3,000 events, 1,095 delivered" in explorer.inner_text()
    designer.wait_for()
    assert ".batch('target_id', window='1h')" in designer.inner_text()
    drawn = shown.output(2).locator("img")
    drawn.wait_for()
    assert drawn.evaluate("image => image.naturalWidth") > 100


@pytest.mark.slow
def test_counts_follow_a_change_quickly(notebook):
    shown = notebook(START, "designer = flow.design(sample.log, graph)\ndesigner")
    panel = shown.output(1).locator(".flowdsl.design")
    counts = panel.locator(".step").nth(5).locator(".counts")
    counts.wait_for()
    took = []
    for window in ("1s", "2h", "1s", "2h", "1s", "2h"):
        before = counts.inner_text()
        took.append(
            panel.get_by_label("deduplicate window").evaluate(
                """(field, [window, before]) => new Promise(done => {
                    const counts = field.closest('.form').querySelectorAll('.step')[5].querySelector('.counts');
                    const began = performance.now();
                    const watch = () => counts.innerText !== before || performance.now() - began > 10000 ? done(performance.now() - began) : setTimeout(watch, 5);
                    field.focus(); field.value = window; field.dispatchEvent(new Event('input', {bubbles: true})); watch();
                })""",
                [window, before],
            )
        )
        shown.page.wait_for_timeout(900)
    print("from a key to the new counts:", [round(ms) for ms in took], "ms")
    # the machine may be busy with other things: the quickest says what the widget needs
    assert min(took) < 1_000
