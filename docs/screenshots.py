"""Photograph the labeling site for docs/labeling.md: `python docs/screenshots.py`.

A site with a store of its own is started, two labelers rank a few sets through the browser's forms,
and Chromium (CHROMIUM names it, else it is looked for) takes the pictures in docs/labeling/.
"""

import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from trivium.labels import Message, Prompt
from trivium.store import adding, people
from trivium.store.database import Store, close_store, open_store, writing
from trivium.store.people import Role
from trivium.store.settings import read_settings
from trivium.web.app import create_app

OUT = Path(__file__).resolve().parent / "labeling"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]
DESK = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 780}, "is_mobile": True, "has_touch": True}
PROMPT = "Why do leaves turn red in autumn? Two or three sentences, for somebody aged ten."
ANSWERS = (
    "A leaf is green because of a dye called chlorophyll, with which it catches sunlight. When the "
    "days get short the tree takes the dye apart and stores it for spring, and the other colours, "
    "which the leaf held all along or makes last of all, come to light.",
    "Leaves turn red because it is cold. The cold paints them, like cheeks in the wind.",
    "Leaf senescence involves the degradation of chlorophyll, the unmasking of carotenoids and the "
    "de novo synthesis of anthocyanins under the control of **abscisic acid**:\n\n"
    "1. chlorophyll is catabolised\n2. nitrogen is resorbed\n3. anthocyanins accumulate",
    "When the days get short the tree takes the green dye out of its leaves and keeps it for "
    "spring. Then you can see the yellow that was hidden under it. Red is made fresh, maybe to "
    "shield the leaf from the sun while it is being emptied.",
)
JUDGED = {ANSWERS[0]: "61", ANSWERS[1]: "2", ANSWERS[2]: "32", ANSWERS[3]: "61"}
"""Rating and rank of each: keys to press. Two are tied, one is left."""
MORE = ("What is a good name for a slow cat?", "Explain tides.", "Rewrite: me and him went home.")


def fill(store: Store) -> None:
    """Tasks that look like real ones."""
    with writing(store) as connection:
        rules = read_settings(connection)
        for number, asked in enumerate((PROMPT, *MORE)):
            prompt = Prompt(id=f"prompt-{number}", prompt=[Message(role="user", content=asked)])
            texts = ANSWERS if asked == PROMPT else ("Yes.", "Ask again later.", *ANSWERS[1:2])
            candidates = [adding.NewAnswer(text) for text in texts]
            need = 3 if asked == PROMPT else 2
            adding.add_task(connection, prompt, candidates, rules, need=need, priority=-number)
        haiku = Prompt(id="haiku", prompt=[Message(role="user", content="A haiku about rain.")])
        adding.add_task(connection, haiku, None, rules, need=1)


def join(store: Store, name: str, role: Role) -> str:
    """A person's session."""
    invite = people.create_invite(store, role=role)
    person = people.accept_invite(store, invite.token, name=name, passphrase="a long passphrase")
    return people.open_session(store, person.id)


def label(url: str, cookie: str, sets: int) -> None:
    """Rank some sets by the plain forms: the longer answer is the better one."""
    with httpx.Client(base_url=url, follow_redirects=True, cookies={"trivium": cookie}) as client:
        for _ in range(sets):
            page = client.get("/next?kind=rank")
            form = dict(re.findall(r'name="(token|submission_id)" value="([^"]*)"', page.text)[:2])
            found = re.findall(r'data-letter="(.)".*?"words">([^<]*)', page.text, re.DOTALL)
            found.sort(key=lambda pair: -len(pair[1]))
            for rank, (letter, _) in enumerate(found, start=1):
                form |= {f"rank.{letter}": str(rank), f"rating.{letter}": str(7 - rank)}
            # Not on to the next page: it would put a task on this desk that others should get.
            client.post(f"{page.url.path}/ranking", data=form, follow_redirects=False)


@contextmanager
def site() -> Iterator[tuple[Store, str]]:
    """A running site."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/labels.db")
        fill(store)
        server = uvicorn.Server(uvicorn.Config(create_app(store), port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield store, f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()
        close_store(store)


def shoot(page: Page, name: str) -> None:
    """One picture, once nothing moves any more."""
    page.wait_for_timeout(900)  # the draft is on the server, and the page says so
    page.screenshot(path=OUT / f"{name}.png")


def labeling(browser: Browser, url: str, cookie: str) -> None:
    """The task page, step by step."""
    desk = visit(browser, url, cookie, DESK)
    desk.goto(f"{url}/next?kind=rank")
    desk.keyboard.press("j")
    desk.locator(".current .chips label").nth(3).click()
    shoot(desk, "rate")
    desk.locator(".current .chips label").nth(3).click()
    desk.keyboard.press("k")
    texts = desk.locator(".answer .words").all_inner_texts()
    judged = {letter: JUDGED[text.strip()] for letter, text in zip("ABCD", texts, strict=True)}
    for keys in judged.values():
        desk.keyboard.press(keys[0])
    for letter, keys in judged.items():
        for rank in keys[1:]:
            desk.locator(f'.answer[data-letter="{letter}"]').press(rank)
    shoot(desk, "rank")
    for letter in "AB":
        desk.locator(f'.answer[data-letter="{letter}"] .compare').click()
    shoot(desk, "compare")
    desk.keyboard.press("Escape")
    for scheme in ("light", "dark"):
        phone = visit(browser, url, cookie, PHONE | {"color_scheme": scheme})
        phone.goto(f"{url}/next?kind=rank")
        shoot(phone, f"rank-phone-{scheme}")


def ruling(browser: Browser, url: str, cookie: str) -> None:
    """The admins' page of figures."""
    desk = visit(browser, url, cookie, DESK)
    desk.goto(f"{url}/admin/quality")
    shoot(desk, "quality")


def visit(browser: Browser, url: str, cookie: str, settings: dict) -> Page:
    """A page that is signed in."""
    context = browser.new_context(**settings)
    context.add_cookies([{"name": "trivium", "value": cookie, "url": url}])
    return context.new_page()


def main() -> None:
    """Take all pictures."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        sys.exit("no browser: install Chromium, or set CHROMIUM to the program")
    OUT.mkdir(exist_ok=True)
    with site() as (store, url), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for name in ("amber", "birch"):
            label(url, join(store, name, Role.LABELER), sets=4)
        labeling(browser, url, join(store, "cedar", Role.LABELER))
        ruling(browser, url, join(store, "dune", Role.ADMIN))
        browser.close()


if __name__ == "__main__":
    main()
