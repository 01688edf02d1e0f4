// The page: which view stands in it, from the first paint to the last change. Owns navigation and nothing else.

import { mark } from "./art/art.js";
import * as cart from "./cart.js";
import { refreshCatalogue } from "./catalogue.js";
import { fill } from "./dom.js";
import { match } from "./routes.js";
import * as session from "./session.js";
import * as cartView from "./views/cart.js";
import * as counter from "./views/counter.js";
import * as home from "./views/home.js";
import * as item from "./views/item.js";
import * as missing from "./views/missing.js";
import * as shelf from "./views/shelf.js";
import { why } from "./why.js";

const VIEWS = { home, shelf, item, cart: cartView, counter };

const place = document.getElementById("page");

/** The path of the visit that stands in the page or is on its way there, and the how-manieth it is. */
let visited = location.pathname;
let visits = 0;

/** Draws the view of the address from what is held. `arrived` is true once for each visit of it. */
function draw(arrived = false) {
  const path = location.pathname;
  const found = match(path);
  const view = (found && VIEWS[found.route.view]) ?? missing;
  const drawn = view.draw(found?.named ?? {}, draw);
  fill(place, drawn ?? missing.draw());
  document.title = `${(drawn ? view.title(found?.named ?? {}) : missing.title()) ?? "Weather, mostly"} · Fieldfare`;
  for (const link of document.querySelectorAll(".kinds a")) {
    if (link.pathname === path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  why.draw(found?.route, found?.named ?? {});
  if (arrived) view.arrive?.(found?.named ?? {}, draw);
}

/** Shows the address; whether nobody went on meanwhile, whose visit is another. */
async function navigate() {
  visited = location.pathname;
  const visit = (visits += 1);
  const found = match(visited);
  // Side by side: the question knows what was told before it, and a page draws once.
  if (found?.route.placements.length) await Promise.all([session.go(found.route, found.named), refreshCatalogue()]);
  if (visit !== visits) return false;
  draw(true);
  return true;
}

/** Links of the shop change the page and not the document. */
function follow(event) {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.origin !== location.origin || link.target || link.hash || !match(link.pathname)) return;
  event.preventDefault();
  if (link.dataset.placement) session.chose(link.dataset.placement, link.pathname.split("/").pop());
  if (link.pathname === location.pathname) return scrollTo(0, 0);
  history.pushState(null, "", link.pathname);
  void navigate().then((isThere) => {
    if (!isThere) return;
    scrollTo(0, 0);
    // The next tab stop is the page's first, and a screen reader says where one is.
    place.focus({ preventScroll: true });
  });
}

function counted() {
  document.getElementById("count").textContent = cart.count();
}

fill(document.getElementById("mark"), mark());
counted();
draw(true);
cart.onCart(() => {
  counted();
  void session.moment();
});
session.onChange(() => draw());
addEventListener("click", follow);
// Another place of the same page, as the skip link goes to, is no visit.
addEventListener("popstate", () => {
  if (location.pathname !== visited) void navigate();
});
// For tests and for the curious: the page listens from here on.
void session.ready().then(() => document.documentElement.setAttribute("data-ready", ""));
