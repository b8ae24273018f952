/* What the admin's pages can do once this runs. Each page is whole without it: what only a script
   can do is hidden in the page, and shown from here. */
"use strict";

/* Buttons that fold and copy: each names what it does in `data-perfsee`, and what it does it to in
   `aria-controls`. */
{
  const target = (button) => document.getElementById(button.getAttribute("aria-controls"));

  const setOpen = (root, isOpen) => {
    for (const part of root.querySelectorAll("details")) {
      part.open = isOpen || part.parentElement === root;
    }
  };

  const exactText = (base64) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  };

  const copy = async (text) => {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      return "Copied.";
    }
    // Only https and localhost have a clipboard: elsewhere the browser's own copying is answered.
    const answer = (event) => {
      event.clipboardData.setData("text/plain", text);
      event.preventDefault();
    };
    document.addEventListener("copy", answer, { once: true });
    const isCopied = document.execCommand("copy");
    document.removeEventListener("copy", answer);
    return isCopied ? "Copied." : "The browser did not let it be copied.";
  };

  const actions = {
    "fold": (button) => setOpen(target(button), false),
    "unfold": (button) => setOpen(target(button), true),
    "copy-bytes": (button) => copy(exactText(button.dataset.base64)),
    "copy-text": (button) => copy(target(button).textContent),
  };

  const act = async (button, status) => {
    try {
      status.textContent = (await actions[button.dataset.perfsee](button)) ?? "";
    } catch (error) {
      status.textContent = `It did not work: ${error.message}`;
    }
  };

  for (const group of document.querySelectorAll(".perfsee-buttons")) {
    for (const button of group.querySelectorAll("button")) {
      button.addEventListener("click", () => act(button, group.querySelector("[role=status]")));
    }
    group.hidden = false;
  }
}

/* The progress of a replay, asked for again for as long as it moves. */
{
  const POLL_MILLISECONDS = 1500;
  const region = document.querySelector("[data-perfsee-poll]");
  const stateIn = (element) => element.querySelector("[data-perfsee-state]").dataset.perfseeState;

  const show = async () => {
    const answer = await fetch(region.dataset.perfseePoll);
    if (!answer.ok || answer.redirected) {
      return;  // logged out, for instance: what the page shows stays
    }
    const before = stateIn(region);
    region.innerHTML = await answer.text();
    if (stateIn(region) !== before) {
      location.reload();  // it takes other buttons
    } else if (region.querySelector("[data-perfsee-moving]")) {
      setTimeout(showAgain, POLL_MILLISECONDS);
    }
  };

  const showAgain = () => show().catch(() => setTimeout(showAgain, POLL_MILLISECONDS));

  if (region) {
    setTimeout(showAgain, POLL_MILLISECONDS);
  }
}
