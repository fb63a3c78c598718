"""Attacks, one by one, against a running site."""

import socket
import sqlite3
import threading
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import quote

import httpx
import pytest

from trivium.store import leases, people, submit
from trivium.store.people import Role
from trivium.web.security import Limiter, default_limits
from trivium.web.shell import MOST_BYTES, crosses
from trivium.web.views import controls

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}"
EVIL_MARKDOWN = (
    "[click](javascript:alert(1)) <iframe src=https://evil.example></iframe>\n\n"
    "![pixel](https://evil.example/pixel.png) <a href='data:text/html,x' onclick=alert(1)>y</a>\n\n"
    "<svg/onload=alert(1)> [good](https://good.example)"
)
PAGES = ("/", "/labels", "/me", "/next", "/admin", "/admin/people", "/admin/quality")


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def assert_harmless(html: str) -> None:
    for tag, attributes in Tags(html).found:
        assert tag not in ("iframe", "img", "object", "embed", "base", "style"), tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        if tag == "script":
            assert attributes["src"].startswith("/static/")
        target = attributes.get("href") or "/"
        assert target.startswith(("/", "#", "https://good.example")), target


# Cross-site scripting


@pytest.mark.parametrize("text", [EVIL, EVIL_MARKDOWN])
def test_what_models_and_people_write_stays_text(site, form, text):
    site.add_ranking((text, "Fine.", text + "!"), prompt=text)
    invite = people.create_invite(site.store, role=Role.ADMIN)
    boss = site.stranger()
    assert join(boss, invite.token, f"{text[:60]} boss").status_code == 200
    page = boss.get("/next?kind=rank")
    assert_harmless(page.text)
    answer = form(page.text, {"A": 1, "B": 2, "C": 3})
    boss.post(f"{page.url.path}/flag", data={**answer, "note": text, "reason": text})
    assert_harmless(boss.get(f"{page.url.path}/compare?a=A&b=B").text)
    assert_harmless(boss.get(f"{page.url.path}/compare?a=A&b=B&part=1").text)
    boss.post(f"{page.url.path}/ranking", data=answer)
    for address in (*PAGES, page.url.path, "/admin/tasks/1"):
        shown = boss.get(address)
        assert shown.status_code == 200
        assert_harmless(shown.text)
    invite = people.create_invite(site.store, role=Role.LABELER, name=text[:60])
    assert_harmless(site.stranger().get(f"/invite/{invite.token}").text)
    assert_harmless(site.stranger().post("/login", data={"name": text}).text)


def test_formatted_text_keeps_what_is_good(site):
    site.add_ranking(("**bold** [good](https://good.example)", "2"))
    html = site.client("ann").get("/next?kind=rank").text
    assert "<strong>bold</strong>" in html
    assert '<a href="https://good.example" rel="noopener noreferrer nofollow">good</a>' in html


@pytest.mark.parametrize(
    "address", ["/login", "/static/site.css", "/nothing", "/admin", "/api/v1/openapi.json"]
)
def test_every_answer_carries_the_policy(site, address):
    headers = site.stranger().get(address, follow_redirects=False).headers
    assert headers["content-security-policy"] == (
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if "static" in address else "no-store")


# Forged requests


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "self"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "self"}, 200),
        ({}, 200),
    ],
)
def test_other_sites_cannot_post(site, form, headers, status):
    site.add_ranking()
    ann = site.person("ann")
    client = site.client("ann")
    page = client.get("/next?kind=rank")
    sent = {name: site.url if value == "self" else value for name, value in headers.items()}
    answer = form(page.text, dict.fromkeys("ABCD", 1))
    assert client.post(f"{page.url.path}/ranking", data=answer, headers=sent).status_code == status
    assert len(submit.labels_of(site.store, ann)) == (status == 200)


def test_a_form_needs_the_token_of_its_own_session(site, form, token):
    site.add_ranking()
    ann = site.person("ann")
    client, other = site.client("ann"), site.client("bob")
    page = client.get("/next?kind=rank")
    answer = form(page.text, dict.fromkeys("ABCD", 1))
    for wrong in ("", "x", "ä", token(other), token(site.client("ann"))):
        refused = client.post(f"{page.url.path}/ranking", data={**answer, "token": wrong})
        assert refused.status_code == 403
        draft = {"sequence": 1, "body": {}}
        header = {"X-CSRF-Token": wrong.encode()}
        assert client.put(f"{page.url.path}/draft", json=draft, headers=header).status_code == 403
    assert submit.labels_of(site.store, ann) == []
    assert client.post(f"{page.url.path}/ranking", data=answer).status_code == 200


def test_the_token_depends_on_the_secret(serve, token):
    plain, keyed = serve(), serve(secret="s" * 32)
    session = plain.client("ann")
    same = keyed.stranger()
    same.cookies.set("trivium", session.cookies["trivium"])
    assert token(session) != token(same)


def test_fetch_metadata_wins_over_origin():
    host = "labels.example"
    assert crosses({"sec-fetch-site": "cross-site", "origin": "https://labels.example"}, host)
    assert not crosses({"sec-fetch-site": "same-origin", "origin": "null"}, host)
    assert crosses({"origin": "https://labels.example.evil"}, host)
    assert not crosses({"origin": "https://labels.example"}, host)


# Injection into SQL, paths and hosts


@pytest.mark.parametrize("text", ["' OR 1=1 --", "'; DROP TABLE labels; --", "\0", "%", "ann' --"])
def test_sql_in_fields_is_only_text(site, text):
    site.add_ranking()
    stranger = site.stranger()
    assert stranger.post("/login", data={"name": text, "passphrase": text}).status_code == 401
    assert stranger.get(f"/invite/{quote(text, safe='')}").status_code == 404
    boss = site.client("boss")
    for address in (
        "/admin?status=",
        "/admin?after=",
        "/labels?before=",
        "/next?kind=",
        "/admin/export/",
    ):
        assert boss.get(address + quote(text, safe="")).status_code in (404, 422)
    with sqlite3.connect(site.store.engine.url.database) as database:
        assert database.execute("SELECT count(*) FROM tasks").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM people").fetchone() == (4,)
    database.close()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e%2f%2e%2e%2f__init__.py",
        "/static//etc/passwd",
        "/static/....//app.py",
        "/static/vendor/../../app.py",
        "/static/..%5capp.py",
        "/static/%00",
        "/admin/export/..%2f..%2flabels.db",
    ],
)
def test_paths_stay_inside(site, path):
    boss = site.client("boss")
    cookie = f"Cookie: trivium={boss.cookies['trivium']}"
    status, body = raw(
        site, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{cookie}\r\nConnection: close\r\n\r\n"
    )
    assert status in (400, 404, 405)
    assert b"import" not in body


def raw(site, request: str | bytes) -> tuple[int, bytes]:
    """Bytes as no well-behaved client would send them; status and all that came back."""
    address = httpx.URL(site.url)
    with socket.create_connection((address.host, address.port), timeout=5) as connection:
        connection.sendall(request if isinstance(request, bytes) else request.encode())
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except (TimeoutError, ConnectionResetError):
            pass
    return int(answer.split(b" ", 2)[1]), answer


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "", "[::1"]
)
def test_only_this_computers_names_are_answered_to_without_a_secret(site, host):
    request = f"GET /login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert raw(site, request)[0] in (400, 421)


def test_with_a_secret_any_name_will_do(serve):
    site = serve(secret="s" * 32)
    request = "GET /login HTTP/1.1\r\nHost: labels.example\r\nConnection: close\r\n\r\n"
    assert raw(site, request)[0] == 200


# Bodies


def test_bodies_over_a_megabyte_are_refused_however_they_come(site, token):
    client = site.client("ann")
    given = {"X-CSRF-Token": token(client)}
    assert client.post("/login", content=b"x" * MOST_BYTES).status_code != 413
    assert client.post("/login", content=b"x" * (MOST_BYTES + 1), headers=given).status_code == 413
    parts = (b"x" * 65536 for _ in range(MOST_BYTES // 65536 + 1))  # no length announced
    assert client.post("/login", content=parts, headers=given).status_code == 413


def test_a_lie_about_the_length_is_no_way_around(site):
    head = "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n"
    assert raw(site, head + "x")[0] == 413


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"sequence": 1e999, "body": {}}'),
        ("application/json", b'{"sequence": 99999999999999999999999, "body": {}}'),
        ("application/json", b'{"sequence": 1, "body": {"a": "not a list"}}'),
        ("application/json", b'{"sequence": 1, "body": {"a": ["\\ud800"]}}'),
        ("application/json", b"\xff\xfe"),
        ("text/plain", b"sequence=1"),
    ],
)
def test_malformed_drafts_are_refused_politely(site, token, kind, body):
    site.add_ranking()
    client = site.client("ann")
    page = client.get("/next?kind=rank")
    headers = {"X-CSRF-Token": token(client), "Content-Type": kind}
    assert client.put(f"{page.url.path}/draft", content=body, headers=headers).status_code in (
        400,
        422,
    )


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"%%%zz=%ff&&&==&rank.A=%00"),
        ("application/x-www-form-urlencoded", b"a=1&" * 5000),
        ("multipart/form-data; boundary=x", b"--x\r\nnonsense"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nz\r\n--x--',
        ),
        ("multipart/form-data", b""),
        ("application/json", b"{}"),
    ],
)
def test_malformed_forms_are_refused_politely(site, token, kind, body):
    site.add_ranking()
    client = site.client("ann")
    page = client.get("/next?kind=rank")
    headers = {"X-CSRF-Token": token(client), "Content-Type": kind}
    for verb in ("ranking", "skip", "draft", "flag"):
        answer = client.post(f"{page.url.path}/{verb}", content=body, headers=headers)
        assert answer.status_code in (200, 400, 422), (verb, answer.status_code)
    assert submit.labels_of(site.store, 1) == []


@pytest.mark.parametrize(
    "field",
    [
        {"rank.A": "0"},
        {"rank.A": "-1"},
        {"rank.A": "\N{SUPERSCRIPT TWO}"},
        {"rank.A": "9" * 40},
        {"rating.A": "8"},
        {"rating.B": ""},
        {"flag.A": "no_such_flag"},
        {"submission_id": "not-a-uuid"},
    ],
)
def test_values_that_no_page_of_ours_sends(site, form, field):
    site.add_ranking(("One.", "Two."))
    client = site.client("ann")
    page = client.get("/next?kind=rank")
    answer = {**form(page.text, {"A": 1, "B": 2}), **field}
    refused = client.post(f"{page.url.path}/ranking", data=answer)
    assert refused.status_code == 422
    assert 'role="alert"' in refused.text
    assert submit.labels_of(site.store, 1) == []


@pytest.mark.parametrize("number", ["0", "-1", "99999999999999999999", "1.5", "one", "%00"])
def test_numbers_in_addresses(site, number):
    client = site.client("ann")
    assert client.get(f"/tasks/{number}").status_code == 404


# Sessions


def test_a_planted_session_is_not_taken_over(site):
    planted = people.open_session(site.store, site.person("bob"))
    for cookie in ("chosen-by-somebody-else", planted):
        victim = site.stranger()
        victim.cookies.set("trivium", cookie, domain="127.0.0.1", path="/")
        answer = victim.post(
            "/login", data={"name": "ann", "passphrase": "correct horse battery staple"}
        )
        assert "Hello, ann" in answer.text
        assert victim.cookies["trivium"] != cookie
        assert people.find_session(site.store, cookie) is None  # bob's own is over as well


def test_signing_out_ends_the_session_on_the_server(site, token):
    client = site.client("ann")
    cookie = client.cookies["trivium"]
    assert client.post("/logout", data={"token": token(client)}).url.path == "/login"
    thief = site.stranger()
    thief.cookies.set("trivium", cookie)
    assert thief.get("/labels").url.path == "/login"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(serve):
    site = serve(secret="s" * 32)
    said = {"name": "ann", "passphrase": "correct horse battery staple"}
    plain = site.stranger().post("/login", data=said, follow_redirects=False).headers["set-cookie"]
    assert plain.startswith("trivium=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(plain.split("; "))
    proxied = site.stranger().post(
        "/login", data=said, headers={"X-Forwarded-Proto": "https"}, follow_redirects=False
    )
    assert proxied.headers["set-cookie"].startswith("__Host-trivium=")
    assert "Secure" in proxied.headers["set-cookie"].split("; ")


def test_a_passphrase_change_ends_the_other_sessions(site, token):
    here, elsewhere = site.client("ann"), site.client("ann")
    new = "another long passphrase"
    said = {"token": token(here), "old": "correct horse battery staple", "new": new, "again": new}
    assert "Hello" in here.post("/me/passphrase", data=said).text
    assert elsewhere.get("/labels").url.path == "/login"


def test_guessing_is_slowed_down_by_name(serve):
    limits = replace(default_limits(), wrong_passphrases=Limiter(most=3, seconds=300))
    stranger = serve(limits=limits).stranger()
    wrong = {"name": "ann", "passphrase": "wrong"}
    assert [stranger.post("/login", data=wrong).status_code for _ in range(4)] == [401] * 3 + [429]
    right = {"name": "ANN", "passphrase": "correct horse battery staple"}
    refused = stranger.post("/login", data=right)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "300"
    assert "Hello" in stranger.post("/login", data={**right, "name": "bob"}).text


def test_limits_forget():
    limiter = Limiter(most=2, seconds=60)
    for at in (0, 50):
        limiter.count("ann", at=at)
    assert limiter.full("ann", at=59)
    assert not limiter.full("bob", at=59)
    assert not limiter.full("ann", at=61)  # the first is a minute old


# Roles


def admin_routes() -> list[tuple[str, str, str]]:
    """Method, address and who may: every route of the admin pages."""
    from trivium.web.pages import admin, people

    return [
        (method, route.path.replace("{", "").replace("}", ""), route.name)
        for router in (admin.router, people.router)
        for route in router.routes
        for method in sorted(route.methods)
    ]


@pytest.mark.parametrize("name", ["ann", "rita"])
def test_nobody_rises_above_their_role(site, token, name):
    site.add_ranking()
    client = site.client(name)
    given = {"token": token(client), "role": "admin", "do": "role", "name": "x"}
    numbers = {"task_id": "1", "person_id": "1", "invite_id": "1", "key_id": "1"}
    open_to_reviewers = {"queue", "one", "quality"}
    routes = admin_routes()
    assert len(routes) > 10
    for method, path, page in routes:
        steps = [numbers.get(step, step) for step in path.split("/")]
        data = given if method == "POST" else None
        answer = client.request(method, "/".join(steps), data=data)
        allowed = name == "rita" and page in open_to_reviewers
        assert (answer.status_code == 403) != allowed, (method, path, answer.status_code)
    assert [person.role for person in people.all_people(site.store)] == [
        Role.LABELER,
        Role.LABELER,
        Role.REVIEWER,
        Role.ADMIN,
    ]


def test_strangers_see_only_the_door(site):
    stranger = site.stranger()
    for method, path, _ in admin_routes():
        answer = stranger.request(method, path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    for path in ("/", "/next", "/tasks/1", "/labels", "/me", "/tasks/1/compare"):
        assert stranger.get(path).url.path == "/login"
    json = {"Accept": "application/json"}
    assert stranger.post("/tasks/1/ranking", headers=json).status_code == 401


def test_other_peoples_tasks_do_not_exist(site, form, token):
    site.add_ranking()
    ann, bob = site.client("ann"), site.client("bob")
    page = ann.get("/next?kind=rank")
    theirs = page.url.path
    answer = {**form(page.text, dict.fromkeys("ABCD", 1)), "token": token(bob), "reason": "pii"}
    for verb in ("ranking", "demonstration", "skip", "draft", "flag"):
        assert bob.post(f"{theirs}/{verb}", data=answer).status_code == 404
    headers = {"X-CSRF-Token": token(bob)}
    draft = {"sequence": 10**15, "body": {"rank.A": ["4"]}}
    assert bob.put(f"{theirs}/draft", json=draft, headers=headers).status_code == 404
    assert bob.get(theirs).status_code == bob.get(f"{theirs}/compare").status_code == 404
    assert leases.find_assignment(site.store, 1, 1).draft is None


def test_an_admin_cannot_lock_themselves_out(site, token):
    boss = site.client("boss")
    for change in ({"do": "shut_out"}, {"do": "role", "role": "labeler"}):
        assert (
            boss.post("/admin/people/4", data={**change, "token": token(boss)}).status_code == 422
        )
    assert people.find_person(site.store, 4).role is Role.ADMIN


def test_who_is_shut_out_is_out_at_once(site, token):
    boss = site.client("boss")
    ann = site.client("ann")
    assert ann.get("/labels").status_code == 200
    boss.post("/admin/people/1", data={"do": "shut_out", "token": token(boss)})
    assert ann.get("/labels").url.path == "/login"


def test_model_names_never_reach_a_labeler(site, form):
    site.add_ranking()
    client = site.client("ann")
    page = client.get("/next?kind=rank")
    path = page.url.path
    shown = [page, client.get(f"{path}/compare"), client.get("/"), client.get("/labels")]
    shown.append(client.post(f"{path}/ranking", data=form(page.text, {"A": 1})))
    shown.append(client.post(f"{path}/ranking", data=form(page.text, dict.fromkeys("ABCD", 1))))
    shown.append(client.get(path))
    for answer in shown:
        assert "secret-" not in answer.text + str(answer.headers)


# Invitations


def join(client: httpx.Client, token: str, name: str) -> httpx.Response:
    passphrase = "a passphrase of my own"
    said = {"name": name, "passphrase": passphrase, "again": passphrase}
    return client.post(f"/invite/{token}", data=said)


def test_an_invitation_works_once(site):
    invite = people.create_invite(site.store, role=Role.LABELER)
    assert site.stranger().get(f"/invite/{invite.token}").status_code == 200  # looking is free
    assert "Hello, new" in join(site.stranger(), invite.token, "new").text
    assert join(site.stranger(), invite.token, "eve").status_code == 404
    assert site.stranger().get(f"/invite/{invite.token}").status_code == 404
    names = [person.name for person in people.all_people(site.store)]
    assert names == ["ann", "bob", "rita", "boss", "new"]


def test_an_invitation_works_once_for_many_at_once(site):
    invite = people.create_invite(site.store, role=Role.ADMIN)
    statuses = []
    racers = [site.stranger() for _ in range(4)]

    def race(i: int) -> None:
        statuses.append(join(racers[i], invite.token, f"racer {i}").status_code)

    threads = [threading.Thread(target=race, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(200) == 1
    assert len(people.all_people(site.store)) == 5


def test_a_role_comes_from_the_invitation_alone(site):
    invite = people.create_invite(site.store, role=Role.LABELER)
    passphrase = "a passphrase of my own"
    said = {"name": "eve", "passphrase": passphrase, "again": passphrase, "role": "admin"}
    client = site.stranger()
    client.post(f"/invite/{invite.token}", data=said)
    assert client.get("/admin").status_code == 403


def test_an_invitation_runs_out(site):
    invite = people.create_invite(site.store, role=Role.LABELER, days=1, now_ms=0)
    assert join(site.stranger(), invite.token, "late").status_code == 404


@pytest.mark.parametrize(
    ("passphrase", "again"), [("short", "short"), ("a passphrase of my own", "another one of mine")]
)
def test_a_bad_passphrase_does_not_use_the_invitation_up(site, passphrase, again):
    invite = people.create_invite(site.store, role=Role.LABELER)
    said = {"name": "new", "passphrase": passphrase, "again": again}
    assert site.stranger().post(f"/invite/{invite.token}", data=said).status_code == 422
    assert "Hello, new" in join(site.stranger(), invite.token, "new").text


def test_what_is_typed_into_flags_is_not_kept_in_memory(site, token):
    """The server keeps rendered fields by what is ticked: by flags that exist, and no other."""
    site.add_ranking(("One.", "Two."))
    client = site.client("ann")
    path = client.get("/next?kind=rank").url.path
    before = controls.cache_info().currsize
    for number in range(5):
        flags = ["opinion", f"{number} made up"]
        draft = {"sequence": number + 1, "body": {"flag.A": flags, "rank.A": ["1"]}}
        client.put(f"{path}/draft", json=draft, headers={"X-CSRF-Token": token(client)})
        assert 'value="opinion" checked' in client.get(path).text
    assert controls.cache_info().currsize <= before + 1
