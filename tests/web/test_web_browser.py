"""The task page in a real browser: drag, keys, touch, no script, lost tabs, lost networks.

`make test-browser` runs these; they need Chromium (CHROMIUM names it, else it is looked for).
"""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from trivium.store import leases, people, submit

pytestmark = pytest.mark.browser
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
FLAGS += ("--disable-component-update", "--disable-sync", "--no-first-run")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
DESK = {"viewport": {"width": 1366, "height": 860}}
PATIENCE_MS = 60_000
"""Only a failure waits so long, or a busy machine: the first page of figures loads scipy."""
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser(chromium) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, site):
    """Return a function from a name to a page that is signed in; its problems fail the test."""
    contexts, problems = [], []

    def opened(name: str, *, context=None, **settings) -> Page:
        if context is None:
            context = browser.new_context(**(DESK | settings))
            contexts.append(context)
            token = people.open_session(site.store, site.person(name))
            context.add_cookies([{"name": "trivium", "value": token, "url": site.url}])
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console", lambda said: problems.append(said.text) if "Policy" in said.text else None
        )
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not problems


def start(page: Page, site, kind: str = "rank") -> None:
    page.goto(f"{site.url}/next?kind={kind}")
    page.wait_for_selector("[data-step]")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def card(page: Page, letter: str):
    return page.locator(f'.answer[data-letter="{letter}"]')


def only_label(site, name: str):
    """The one label of a person: letters to ranks, and to ratings, as that person saw them."""
    person_id = site.person(name)
    (info,) = submit.labels_of(site.store, person_id)
    found = leases.find_assignment(site.store, person_id, info.assignment_id)
    places = iter(info.body["order"])
    ranks, ratings = {}, {}
    for answer in found.answers:
        place, *_ = [next(places) for _ in range(answer.copies)]
        said = info.body["judgements"][place]
        ranks[answer.letter], ratings[answer.letter] = said.get("rank"), said.get("rating")
    return info, ranks, ratings


def submitted(page: Page) -> None:
    page.wait_for_url(lambda url: "/next?said=" in url)


def test_four_answers_take_nine_keys(site, open_page):
    site.add_ranking()
    page = open_page("ann")
    start(page, site)
    keys = ["6", "5", "2", "4", "1", "2", "4", "3", "Control+Enter"]
    press(page, *keys)
    submitted(page)
    _, ranks, ratings = only_label(site, "ann")
    assert ranks == {"A": 1, "B": 2, "C": 4, "D": 3}
    assert ratings == {"A": 6, "B": 5, "C": 2, "D": 4}
    assert len(keys) == 9


def test_four_answers_take_nine_clicks(site, open_page):
    site.add_ranking()
    page = open_page("ann")
    start(page, site)
    clicks = 0
    for letter, rating in zip("ABCD", (6, 5, 2, 4), strict=True):
        card(page, letter).locator(f'.rating input[value="{rating}"]').click()
        clicks += 1
    for letter, rank in zip("ABCD", (1, 2, 4, 3), strict=True):
        card(page, letter).locator(f'.rank input[value="{rank}"]').click()
        clicks += 1
    page.get_by_role("button", name="Submit").click()
    submitted(page)
    assert clicks + 1 == 9
    assert only_label(site, "ann")[1] == {"A": 1, "B": 2, "C": 4, "D": 3}


def test_every_move_of_the_keys_and_what_is_said_of_it(site, open_page):
    site.add_ranking()
    page = open_page("ann")
    start(page, site)
    press(page, "4", "4", "4", "4")
    said = page.locator("#live")
    press(page, "2")
    expect(said).to_have_text("Answer A: rank 2 of 4. 3 left.")
    press(page, "=")  # B, not ranked yet: joins A
    expect(said).to_have_text("Answer B: rank 2 of 4, tied with A. 2 left.")
    press(page, "1")
    expect(said).to_have_text("Answer C: rank 1 of 4. 1 left.")
    press(page, "ArrowDown")  # D, not ranked yet: enters at the top
    expect(said).to_have_text("Answer D: rank 1 of 4, tied with C. All ranked.")
    press(page, "ArrowDown", "ArrowDown")
    expect(said).to_have_text("Answer D: rank 3 of 4. All ranked.")
    press(page, "=")  # the next better row is 2
    expect(said).to_have_text("Answer D: rank 2 of 4, tied with A, B. All ranked.")
    press(page, "Shift+ArrowUp")  # changes places with C
    expect(said).to_have_text("Answer D: rank 1 of 4. All ranked.")
    assert card(page, "C").locator(".rank input:checked").input_value() == "2"
    press(page, "ArrowUp")
    expect(said).to_have_text("Answer D: rank 1 of 4. All ranked. No further.")
    press(page, "Backspace")
    expect(said).to_have_text("Answer D: no rank. 1 left.")
    press(page, "4", "Alt+7", "Control+Enter")
    expect(page.locator("#doubt")).to_contain_text("You ranked A above D but rated it lower")
    press(page, "Control+Enter")  # meant: a question, never a refusal
    submitted(page)
    assert only_label(site, "ann")[1:] == (
        {"A": 1, "B": 1, "C": 1, "D": 2},
        {"A": 4, "B": 4, "C": 4, "D": 7},
    )


def test_keys_sleep_unless_an_answer_has_the_focus(site, open_page):
    site.add_ranking()
    page = open_page("ann")
    start(page, site)
    page.locator("#show-markdown").focus()
    press(page, "5", "s")
    assert page.locator(".rating input:checked").count() == 0
    assert not page.locator("#skip").get_attribute("open")


def test_flags_skip_and_the_list_of_keys(site, open_page):
    site.add_ranking()
    page = open_page("ann")
    start(page, site)
    press(page, "f", "Space")
    assert card(page, "A").locator(".chips input").first.is_checked()
    press(page, "j", "?")
    expect(page.locator("#keys")).to_be_visible()
    press(page, "Escape", "s", "ArrowDown", "Control+Enter")
    submitted(page)
    (info,) = submit.labels_of(site.store, site.person("ann"))
    assert info.skipped
    assert info.body["skip"] == "unsafe"  # the second reason of the list


def drag(page: Page, letter: str, rank: int) -> None:
    """By mouse, in steps, as a quick hand does it."""
    head = card(page, letter).locator(".letter").bounding_box()
    page.mouse.move(head["x"] + 8, head["y"] + 8)
    page.mouse.down()
    page.mouse.move(head["x"] + 30, head["y"] + 20, steps=4)
    zone = page.locator(f'.zone[data-rank="{rank}"]').bounding_box()
    page.mouse.move(
        zone["x"] + zone["width"] / 2, zone["y"] + min(20, zone["height"] / 2), steps=12
    )
    page.mouse.up()


def test_by_mouse_drag_with_a_tie(site, open_page):
    site.add_ranking(("One.", "Two.", "Three."))
    page = open_page("ann")
    start(page, site)
    press(page, "4", "4", "4")
    drag(page, "B", 1)
    expect(card(page, "B").locator('.rank input[value="1"]')).to_be_checked()
    expect(page.locator("#live")).to_have_text("Answer B: rank 1 of 3. 2 left.")
    drag(page, "A", 2)
    drag(page, "C", 2)
    expect(page.locator("#live")).to_have_text("Answer C: rank 2 of 3, tied with A. All ranked.")
    page.get_by_role("button", name="Submit").click()
    submitted(page)
    assert only_label(site, "ann")[1] == {"A": 2, "B": 1, "C": 2}


def test_a_lifted_card_looks_as_it_lay_and_a_rows_name_is_part_of_the_row(site, open_page):
    site.add_ranking(("One.", "Two.", "Three."))
    page = open_page("ann")
    start(page, site)
    press(page, "4", "4", "4")
    lay = card(page, "A").bounding_box()
    head = card(page, "A").locator(".letter").bounding_box()
    name = page.locator("#row-2").bounding_box()
    page.mouse.move(head["x"] + 8, head["y"] + 8)
    page.mouse.down()
    page.mouse.move(head["x"] + 30, head["y"] + 20, steps=4)
    lifted = page.locator(".lifted")
    expect(lifted.locator(".head")).to_be_visible()
    assert lifted.locator(".flags, .rating").all_inner_texts()  # there, to be shown on demand
    for part in lifted.locator(".flags, .rating").all():
        assert not part.is_visible()
    inner = lifted.locator(".rank").bounding_box()
    assert inner["y"] + inner["height"] - lifted.bounding_box()["y"] <= lay["height"] + 1
    page.mouse.move(name["x"] + 20, name["y"] + 10, steps=12)
    page.mouse.up()
    expect(page.locator("#live")).to_have_text("Answer A: rank 2 of 3. 2 left.")


def test_nothing_moves_under_the_finger_when_a_draft_is_saved(site, open_page):
    site.add_ranking(("One.", "Two."))
    page = open_page("boss", **PHONE)  # an admin has the longest header
    start(page, site)
    card(page, "A").locator('.rating input[value="4"]').tap()
    page.evaluate(
        """() => {
          window.heights = new Set();
          const look = () => {
            heights.add(document.querySelector("main").offsetTop);
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    before = page.locator(".steps").bounding_box()["y"]
    page.context.route("**/draft", lambda route: (page.wait_for_timeout(50), route.continue_()))
    card(page, "B").locator('.rating input[value="4"]').tap()
    row = page.locator(".rows > li").first
    first = row.bounding_box()["y"]
    expect(page.locator("#saved")).to_have_text("saved on this computer")
    assert row.bounding_box()["y"] == first
    expect(page.locator("#saved")).to_have_text("saved on the server")
    assert row.bounding_box()["y"] == first
    assert page.locator(".steps").bounding_box()["y"] == before
    assert len(page.evaluate("[...heights]")) == 1


def begin_drag(page: Page, letter: str) -> None:
    """Take hold of a card and lift it."""
    head = card(page, letter).locator(".letter").bounding_box()
    page.mouse.move(head["x"] + 8, head["y"] + 8)
    page.mouse.down()
    page.mouse.move(head["x"] + 30, head["y"] + 20, steps=4)


@pytest.mark.parametrize("width", [390, 700, 1280])
def test_nothing_moves_as_the_page_says_what_is_saved_or_is_not(site, open_page, width):
    site.add_ranking(("One.", "Two."))
    page = open_page("boss", viewport={"width": width, "height": 844})  # has the longest header
    start(page, site)
    row, said = page.locator(".rows > li").first, page.locator("#saved")
    press(page, "4", "4")
    expect(said).to_have_text("saved on the server")
    page.reload()  # whoever comes back finds both rated, and nothing said of saving yet
    page.wait_for_selector("[data-step=rank]")
    expect(said).to_have_text("")
    before = row.bounding_box()
    press(page, "Alt+5")
    expect(said).to_have_text("saved on this computer")
    assert row.bounding_box() == before
    expect(said).to_have_text("saved on the server")
    assert row.bounding_box() == before
    page.context.route("**/draft", lambda route: route.abort())
    press(page, "Alt+6")
    expect(said).to_contain_text("the server can't be reached")
    assert row.bounding_box() == before
    assert said.evaluate("said => said.scrollHeight <= said.clientHeight"), "all of it is seen"


@pytest.mark.parametrize("ranked", [False, True])
def test_a_card_that_is_dragged_looks_as_it_lay_there(site, open_page, ranked):
    site.add_ranking(("One.", "Two.", "Three."))
    page = open_page("ann")
    start(page, site)
    press(page, "4", "4", "4", *("1" if ranked else ""))
    lying = card(page, "A").bounding_box()
    begin_drag(page, "A")
    page.mouse.move(lying["x"] + 40, lying["y"] + 200, steps=4)
    lifted = page.locator("body > .lifted")
    assert lifted.bounding_box()["height"] == pytest.approx(lying["height"], abs=1)
    assert lifted.bounding_box()["width"] == pytest.approx(lying["width"], abs=1)
    for hidden in (".flags", ".chips label", ".rating"):
        expect(lifted.locator(hidden).first).to_be_hidden()
    inside = "lifted => lifted.scrollHeight <= lifted.clientHeight + 1"
    assert lifted.evaluate(inside), "nothing spills out of it"
    page.mouse.up()


def flick(page: Page, letter: str, rank: int) -> None:
    """Down, two moves and up without a pause: over before Sortable has looked twice."""
    head = card(page, letter).locator(".letter").bounding_box()
    zone = page.locator(f'.zone[data-rank="{rank}"]').bounding_box()
    page.mouse.move(head["x"] + 8, head["y"] + 8)
    page.mouse.down()
    page.mouse.move(head["x"] + 20, head["y"] + 20)
    page.mouse.move(zone["x"] + zone["width"] / 2, zone["y"] + min(20, zone["height"] / 2))
    page.mouse.up()


def test_a_quick_hand_loses_no_drag(site, open_page):
    """Each drag begins where the last one ended, while the cards would still be sliding."""
    site.add_ranking(("One.", "Two.", "Three."))
    page = open_page("ann")
    start(page, site)
    press(page, "4", "4", "4")
    for letter, rank in zip("BACABCBCA", (1, 2, 2, 3, 1, 3, 1, 2, 1), strict=True):
        flick(page, letter, rank)
        chosen = card(page, letter).locator(".rank input:checked")
        assert chosen.input_value() == str(rank)
    # A click that follows a drag is a click: Sortable swallows one where none came of the drag.
    page.get_by_role("button", name="Submit").click()
    submitted(page)
    assert only_label(site, "ann")[1] == {"A": 1, "B": 1, "C": 2}


def test_by_finger(site, open_page):
    site.add_ranking(("One.", "Two."))
    page = open_page("ann", **PHONE)
    start(page, site)
    card(page, "A").locator('.rating input[value="4"]').tap()
    card(page, "B").locator('.rating input[value="4"]').tap()
    finger = page.context.new_cdp_session(page)
    for letter, rank in (("B", 1), ("A", 2)):
        page.locator(f'.zone[data-rank="{rank}"]').scroll_into_view_if_needed()
        head = card(page, letter).locator(".letter").bounding_box()
        zone = page.locator(f'.zone[data-rank="{rank}"]').bounding_box()
        x, y = head["x"] + 10, head["y"] + 10
        to_x, to_y = zone["x"] + 60, zone["y"] + 15
        finger.send("Input.dispatchTouchEvent", touch("touchStart", x, y))
        for i in range(1, 13):
            at = touch("touchMove", x + (to_x - x) * i / 12, y + (to_y - y) * i / 12)
            finger.send("Input.dispatchTouchEvent", at)
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(card(page, letter).locator(f'.rank input[value="{rank}"]')).to_be_checked()
    page.get_by_role("button", name="Submit").tap()
    submitted(page)
    assert only_label(site, "ann")[1] == {"A": 2, "B": 1}


def touch(kind: str, x: float, y: float) -> dict:
    return {"type": kind, "touchPoints": [{"x": x, "y": y}]}


def test_without_javascript(site, open_page):
    site.add_ranking()
    page = open_page("ann", java_script_enabled=False)
    page.goto(f"{site.url}/next?kind=rank")
    for letter, rank in zip("ABCD", (2, 1, 2, 3), strict=True):
        card(page, letter).locator(f'.rating input[value="{5 - rank}"]').check(force=True)
        card(page, letter).locator(f'.rank input[value="{rank}"]').check(force=True)
    page.get_by_role("button", name="Keep as a draft").click()
    assert card(page, "B").locator('.rank input[value="1"]').is_checked()
    page.get_by_role("button", name="Submit").click()
    assert page.get_by_role("heading", name="Nothing to do").is_visible()
    assert only_label(site, "ann")[1] == {"A": 2, "B": 1, "C": 2, "D": 3}


def test_nine_answers(site, open_page):
    from_conftest = [f"Answer number {i}. " * (i + 1) * 6 for i in range(9)]
    site.add_ranking(from_conftest)
    page = open_page("ann")
    start(page, site)
    press(page, *"444444444", *"987654321", "Control+Enter")
    submitted(page)
    assert only_label(site, "ann")[1] == dict(zip("ABCDEFGHI", range(9, 0, -1), strict=True))


def test_a_killed_tab_gives_the_draft_back(site, open_page):
    site.add_ranking()
    page = open_page("ann")
    page.context.route("**/draft", lambda route: route.abort())  # nothing reaches the server
    start(page, site)
    press(page, "6", "5", "2")
    expect(page.locator("#saved")).to_contain_text("on this computer")
    page.close(run_before_unload=False)
    again = open_page("ann", context=page.context)
    start(again, site)
    assert [card(again, x).locator(".rating input:checked").input_value() for x in "ABC"] == [
        "6",
        "5",
        "2",
    ]
    assert card(again, "D").is_visible()  # the one that is left to rate


def test_a_draft_follows_to_another_computer(site, open_page):
    site.add_demonstration()
    page = open_page("ann")
    start(page, site, "demonstration")
    page.locator("textarea").press_sequentially("Drops on the roof, ")
    expect(page.locator("#saved")).to_have_text("saved on the server")
    other = open_page("ann")
    start(other, site, "demonstration")
    assert other.locator("textarea").input_value() == "Drops on the roof, "


def test_the_outbox_sends_when_the_network_is_back(site, open_page):
    site.add_ranking(("One.", "Two."))
    page = open_page("ann")
    start(page, site)
    press(page, "4", "4", "1", "2")
    page.context.set_offline(True)
    press(page, "Control+Enter")
    expect(page.locator("#saved")).to_contain_text("kept on this computer")
    assert submit.labels_of(site.store, site.person("ann")) == []
    page.context.set_offline(False)
    submitted(page)
    assert only_label(site, "ann")[1] == {"A": 1, "B": 2}


def test_a_label_on_its_way_cannot_be_changed_or_sent_again(site, open_page):
    site.add_ranking(("One.", "Two."))
    page = open_page("ann")
    start(page, site)
    press(page, "4", "4", "1", "2")
    sent = []
    page.on("request", lambda asked: sent.append(asked.url.rpartition("/")[2]))
    page.context.route("**/ranking", lambda route: route.abort())
    press(page, "Control+Enter")
    expect(page.locator("#saved")).to_contain_text("kept on this computer")
    press(page, "2", "Control+Enter", "1", "Control+Enter")
    assert card(page, "A").locator(".rank input:checked").input_value() == "1"
    assert sent.count("ranking") == 1
    page.context.unroute("**/ranking")
    submitted(page)
    assert only_label(site, "ann")[1] == {"A": 1, "B": 2}


@pytest.mark.parametrize("status", [400, 413])
def test_what_is_refused_is_shown_and_not_sent_again(site, open_page, status):
    site.add_demonstration()
    page = open_page("ann")
    start(page, site, "demonstration")
    page.locator("textarea").fill("Drops.")
    said = "a body may have 9 bytes at most"
    page.context.route("**/demonstration", lambda route: route.fulfill(status=status, body=said))
    press(page, "Control+Enter")
    expect(page.locator("#doubt")).to_contain_text(said)
    expect(page.locator("textarea")).to_be_focused()
    page.context.unroute("**/demonstration")
    page.keyboard.type(" More.")
    press(page, "Control+Enter")
    submitted(page)
    (label,) = submit.labels_of(site.store, site.person("ann"))
    assert label.body["completion"] == "Drops. More."


def test_a_draft_that_is_older_than_the_servers_is_not_called_saved(site, open_page):
    site.add_demonstration()
    page = open_page("ann")
    start(page, site, "demonstration")
    newer = {"completion": ["From the other window."]}
    leases.save_draft(site.store, site.person("ann"), 1, newer, sequence=2**52)
    page.keyboard.type("Old.")
    expect(page.locator("#saved")).to_have_text("not saved, another window has saved a newer draft")


def test_the_outbox_survives_the_tab(site, open_page):
    site.add_ranking(("One.", "Two."))
    page = open_page("ann")
    start(page, site)
    press(page, "4", "4", "1", "2")
    page.context.route("**/ranking", lambda route: route.abort())
    press(page, "Control+Enter")
    expect(page.locator("#saved")).to_contain_text("kept on this computer")
    page.close(run_before_unload=False)
    page.context.unroute("**/ranking")
    home = open_page("ann", context=page.context)
    home.goto(site.url)
    expect(home.locator("#saved")).to_contain_text("is now saved on the server")
    assert only_label(site, "ann")[1] == {"A": 1, "B": 2}


def test_two_labelers_at_once(site, open_page):
    site.add_ranking(("One.", "Two."), prompt="First?")
    site.add_ranking(("One.", "Two."), prompt="Second?")
    names = ["ann", "bob"]
    pages = [open_page(name) for name in names]
    for page in pages:
        start(page, site)
    asked = {page.locator(".turn .words").inner_text() for page in pages}
    assert asked == {"First?", "Second?"}
    for keys in ("44", "12"):
        for page in pages:
            press(page, *keys)
    for page in pages:
        press(page, "Control+Enter")
        submitted(page)
    assert len({only_label(site, name)[0].task_id for name in names}) == 2


def test_compare_marks_the_words_that_differ(site, open_page):
    site.add_ranking(("The cat sat down.", "The dog sat down."))
    page = open_page("ann")
    start(page, site)
    press(page, "4", "4", "d", "j", "d")
    expect(page.locator("#comparison")).to_be_visible()
    texts = {
        page.locator("#comparison del").inner_text(),
        page.locator("#comparison ins").inner_text(),
    }
    assert texts == {"cat", "dog"}


def test_what_is_said_of_an_answer_and_its_tools_fit_a_phone(site, open_page):
    site.add_ranking(("Same.", "Other.", "Same."))
    page = open_page("ann", **PHONE)
    start(page, site)
    for letter in "AB":
        card(page, letter).locator('.rating input[value="4"]').tap()
    copied = page.locator(".answer", has=page.locator(".copies"))
    said = copied.locator(".given").evaluate("e => getComputedStyle(e, '::before').content")
    assert said == '", "'
    head = copied.locator(".head").bounding_box()
    letter, tools = (copied.locator(x).bounding_box() for x in (".letter", ".tools"))
    assert abs(letter["y"] - tools["y"]) < 10, "one line"
    assert tools["x"] + tools["width"] <= head["x"] + head["width"]
    sticky = page.locator(".finish").get_by_role("button").all_inner_texts()
    assert len(sticky) == 1, "nothing beside Submit for a thumb to slip to"
    expect(page.get_by_role("button", name="Can't be ranked")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_serious(site, open_page, scheme, size):
    site.add_ranking()
    site.add_demonstration()
    page = open_page("boss", color_scheme=scheme, **size)
    found = []

    def look(where: str) -> None:
        result = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]})
        found.extend(
            f"{where}: {fault['id']}: {fault['nodes'][0]['html'][:200]}"
            for fault in result.response["violations"]
        )

    for address in ("/", "/labels", "/me", "/admin", "/admin/people", "/admin/quality"):
        page.goto(site.url + address)
        look(address)
    page.goto(f"{site.url}/admin/export")
    look("export")
    start(page, site, "demonstration")
    look("write")
    start(page, site)
    look("rate")
    press(page, "4", "4", "4", "4")
    look("rank")
    press(page, "1", "2", "=", "4")
    look("ranked")
    press(page, "?")
    look("keys")
    page.context.clear_cookies()
    page.goto(f"{site.url}/login")
    look("login")
    assert not found, "\n".join(found)
    narrow = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert narrow, "the page scrolls sideways"
