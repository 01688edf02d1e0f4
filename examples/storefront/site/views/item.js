// One product, and what goes with it.

import * as cart from "../cart.js";
import { candidates, find } from "../catalogue.js";
import { euros, h } from "../dom.js";
import { cards, flag, plate } from "../parts.js";
import * as session from "../session.js";

export const title = ({ item }) => find(item)?.name;

const PATTERN = { plain: "", stripe: "striped ", check: "checked ", fairisle: "Fair Isle ", cable: "cable-knit ", fleck: "flecked ", block: "two-coloured ", dip: "dipped " };

/** Seen: what the next ranking of this visit knows. */
export function arrive({ item }) {
  const product = find(item);
  if (!product) return;
  const from = session.takeCause(item);
  session.track("view_item", item, { category: product.category, price: product.price }, from);
}

export function draw({ item }, redraw) {
  const product = find(item);
  if (!product) return undefined;
  const { decision, ids } = session.ranked("pairs-well", candidates("goes-with", { item }), 4);
  const gone = product.stock <= 0;
  const said = gone ? "Sold out" : flag(product);
  const add = () => {
    // Told first: what the cart changes is asked for behind it.
    session.track("add_to_cart", item, { category: product.category, price: product.price, value: product.price });
    cart.add(item);
    document.getElementById("said").textContent = `${product.name} is in the cart.`;
    redraw();
  };
  return [
    h(
      "article",
      { class: "item" },
      plate(product, "large"),
      h(
        "div",
        { class: "item-words" },
        h("p", { class: "kicker" }, h("a", { href: `/shop/${product.category}` }, product.category)),
        h("h1", {}, product.name),
        h("p", { class: "item-price" }, euros(product.price), said && h("span", { class: "flag inline" }, said)),
        h("p", { class: "item-says" }, product.says),
        h(
          "dl",
          { class: "facts" },
          h("div", {}, h("dt", {}, "Made by"), h("dd", {}, product.maker)),
          h("div", {}, h("dt", {}, "Of"), h("dd", {}, `${PATTERN[product.pattern] ?? ""}${product.material}`)),
          h("div", {}, h("dt", {}, "Colour"), h("dd", {}, `${product.colour}, with ${product.accent}`)),
        ),
        gone
          ? h("p", { class: "gone" }, "All of them found somebody.")
          : h("p", {}, h("button", { class: "button", type: "button", "data-key": "add", click: add }, "Put it into the cart")),
        h("p", { class: "small" }, `We pay the post from ${euros(cart.FREE_FROM)}. Send it back for a month.`),
      ),
    ),
    h(
      "section",
      { class: "strip", "aria-labelledby": "pairs" },
      h("div", { class: "strip-head" }, h("h2", { id: "pairs" }, "Goes with it"), h("p", {}, "Other kinds, the same colours")),
      cards(ids, decision, "Goes with it"),
    ),
  ];
}
