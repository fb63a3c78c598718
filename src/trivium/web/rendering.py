"""From templates and data to pages. Everything is escaped; Markdown is sanitised."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import nh3
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from trivium.store.people import Role, Session
from trivium.web.security import form_token

HERE = Path(__file__).parent
STATIC = HERE / "static"
ALLOWED = {
    *("p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a"),
}
"""No images: loading one would tell its server who reads what, and when."""

LABELER_MENU = (("/", "Home"), ("/labels", "My labels"))
REVIEWER_MENU = (("/admin", "Queue"), ("/admin/quality", "Quality"))
ADMIN_MENU = (("/admin/people", "People"), ("/admin/export", "Export"))

_markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def markdown(text: str) -> Markup:
    """Markdown as HTML that holds no script, no style, no image and no foreign form."""
    html = nh3.clean(
        _markdown.render(text),
        tags=ALLOWED,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(html)  # sanitised above


def share(value: float | None) -> str:
    """0.7261 as 72.6 %."""
    return "-" if value is None else f"{100 * value:.1f} %"


def decimal(value: float | None) -> str:
    """0.7261 as 0.73."""
    return "-" if value is None else f"{value:.2f}"


def when(at_ms: int) -> str:
    """2026-11-21 12:28 UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,  # templates do not change while the site runs
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(share=share, decimal=decimal, when=when)
    return made


_templates = _environment()


def menu(role: Role) -> tuple[tuple[str, str], ...]:
    """The pages somebody may open."""
    more = {Role.LABELER: (), Role.REVIEWER: REVIEWER_MENU, Role.ADMIN: REVIEWER_MENU + ADMIN_MENU}
    return (*LABELER_MENU, *more[role])


def page(
    request: Request,
    template: str,
    session: Session | None,
    values: Mapping[str, object] | None = None,
    *,
    status: int = 200,
) -> HTMLResponse:
    """A whole page."""
    frame: dict[str, object] = {
        "session": session,
        "here": request.url.path,
        "menu": menu(session.person.role) if session else (),
        "token": _token_field(request, session),
        "notice": None,
        "problem": None,
    }
    html = _templates.get_template(template).render({**frame, **(values or {})})
    return HTMLResponse(html, status_code=status)


def part(template: str, values: Mapping[str, object]) -> HTMLResponse:
    """A piece of a page, for a script to put in."""
    return HTMLResponse(fragment(template, values))


def fragment(template: str, values: Mapping[str, object]) -> Markup:
    """A piece of a page, for a template to put in."""
    return Markup(_templates.get_template(template).render(values))  # escaped there


def _token_field(request: Request, session: Session | None) -> Callable[[], Markup]:
    field = Markup('<input type="hidden" name="token" value="{}">')

    def token() -> Markup:
        return field.format(form_token(request, session)) if session else Markup("")

    return token
