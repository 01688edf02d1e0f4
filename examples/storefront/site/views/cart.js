// The cart, and paying for it without money.

import * as cart from "../cart.js";
import { candidates, refreshCatalogue } from "../catalogue.js";
import { euros, h } from "../dom.js";
import { cards, plate } from "../parts.js";
import * as session from "../session.js";

export const title = () => "Cart";

let ordered;
let refused;

function line({ id, count, product }, redraw) {
  const put = (pieces) => () => {
    // Told first: what the cart changes is asked for behind it.
    if (pieces < count) session.track("remove_from_cart", id, { category: product.category, value: product.price });
    cart.put(id, pieces);
    redraw();
  };
  return h(
    "li",
    { class: "line", "data-key": id },
    h("a", { href: `/item/${id}`, "aria-label": product.name }, plate(product, "small")),
    h("div", {}, h("h2", { class: "line-name" }, h("a", { href: `/item/${id}` }, product.name)), h("p", { class: "card-maker" }, `${product.maker}, ${euros(product.price)}`)),
    h(
      "div",
      { class: "pieces", role: "group", "aria-label": `Pieces of ${product.name}` },
      h("button", { type: "button", class: "round", "aria-label": "One less", "data-key": `${id}-less`, click: put(count - 1) }, "−"),
      h("span", { "aria-live": "polite" }, count),
      h("button", { type: "button", class: "round", "aria-label": "One more", "data-key": `${id}-more`, disabled: count >= product.stock, click: put(count + 1) }, "+"),
    ),
    h("p", { class: "line-sum" }, euros(count * product.price)),
  );
}

async function order(redraw) {
  const lines = cart.lines();
  const body = JSON.stringify({ lines: lines.map(({ id, count }) => ({ id, count })) });
  try {
    const answer = await fetch("/order", { method: "POST", body });
    refused = answer.ok ? undefined : await answer.text();
    if (answer.ok) {
      for (const { id, count, product } of lines) session.track("purchase", id, { category: product.category, value: count * product.price });
      ordered = lines.length;
      cart.clear();
    }
  } catch {
    refused = "The shop does not answer. The cart stays as it is; try again.";
  }
  await refreshCatalogue();
  redraw();
}

export function arrive() {
  ordered = refused = undefined;
}

export function draw(_, redraw) {
  const lines = cart.lines();
  const { decision, ids } = session.ranked("pairs-well", candidates("extras", {}), 4);
  const extras = h(
    "section",
    { class: "strip", "aria-labelledby": "extras" },
    h("div", { class: "strip-head" }, h("h2", { id: "extras" }, "Small things"), h("p", {}, "Up to €60")),
    cards(ids, decision, "Small things"),
  );
  if (!lines.length) {
    return [
      h(
        "section",
        { class: "empty" },
        h("h1", {}, ordered ? "Thank you" : "The cart is empty"),
        h("p", { role: ordered && "status" }, ordered ? "No money changed hands, but the stock did: what was sold out has left every page." : "Nothing waits for you here yet."),
        h("p", {}, h("a", { class: "button", href: "/shop" }, "Look around")),
      ),
      extras,
    ];
  }
  const sum = cart.total();
  const post = sum >= cart.FREE_FROM ? 0 : cart.POST;
  return [
    h("header", { class: "shelf-head" }, h("h1", {}, "Cart")),
    h(
      "div",
      { class: "checkout" },
      h("ul", { class: "lines" }, lines.map((each) => line(each, redraw))),
      h(
        "section",
        { class: "bill", "aria-label": "Sum" },
        h(
          "dl",
          { class: "facts" },
          h("div", {}, h("dt", {}, "Things"), h("dd", {}, euros(sum))),
          h("div", {}, h("dt", {}, "Post"), h("dd", {}, post ? euros(post) : "on us")),
          h("div", { class: "whole" }, h("dt", {}, "In all"), h("dd", {}, euros(sum + post))),
        ),
        post > 0 && h("p", { class: "small" }, `${euros(cart.FREE_FROM - sum)} more, and we pay the post.`),
        refused && h("p", { class: "wrong", role: "alert" }, refused),
        h("p", {}, h("button", { class: "button", type: "button", "data-key": "order", click: () => void order(redraw) }, "Order")),
      ),
    ),
    extras,
  ];
}
