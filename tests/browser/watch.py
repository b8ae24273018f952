"""Watches all that a browser does in a test, and says what no page of ours may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    ViewportSize,
    WebError,
)

NARROWEST: ViewportSize = {"width": 360, "height": 740}

# Runs in each page before its own scripts. What it finds is told on the console, which is watched.
_IN_THE_PAGE = """
addEventListener("securitypolicyviolation", (event) => console.error(
  `The policy forbids ${event.violatedDirective} ${event.blockedURI} ${event.sample}`
));
addEventListener("load", () => {
  const measure = () => {
    const {scrollWidth, clientWidth} = document.documentElement;
    // For a picture of the whole page the driver makes the window tiny for a moment.
    if (clientWidth >= 320 && scrollWidth > clientWidth) {
      console.error(`The page is ${scrollWidth} px wide in a window of ${clientWidth} px.`);
    }
  };
  measure();
  new ResizeObserver(measure).observe(document.body);
});
"""


@dataclass(kw_only=True)
class Watch:
    """What went wrong in the browser, and what a test expects to go wrong."""

    origins: set[str]
    expected: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def over(self, context: BrowserContext) -> None:
        """Watch each page of a context."""
        context.add_init_script(_IN_THE_PAGE)
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("request", self._request)
        context.on("dialog", self._dialog)

    def finish(self, pages: list[Page]) -> list[str]:
        """Look at each open page in the narrowest window; return all that went wrong."""
        for page in pages:
            page.set_viewport_size(NARROWEST)
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > NARROWEST["width"]:
                self.seen.append(f"{page.url} is {width} px wide in the narrowest window.")
        return [one for one in self.seen if not any(part in one for part in self.expected)]

    def _console(self, message: ConsoleMessage) -> None:
        at = message.location["url"]
        # No page of the admin names an icon, and the browser asks for one by itself.
        if message.type in ("error", "warning") and not at.endswith("/favicon.ico"):
            where = message.page.url if message.page else "a page"
            self.seen.append(f"{where}: {message.text} ({at})")

    def _error(self, error: WebError) -> None:
        self.seen.append(f"{error.page.url if error.page else 'a page'}: {error.error}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" not in self.origins:
            self.seen.append(f"asked for {request.url}")

    def _dialog(self, dialog: Dialog) -> None:
        self.seen.append(f"asked: {dialog.message}")
        dialog.dismiss()
