// What several views show: a card, a shelf of cards, a price.

import { picture, tint } from "./art/art.js";
import { find } from "./catalogue.js";
import { euros, h, styled } from "./dom.js";

/** What is worth a word on a product, at most one. */
export function flag(product) {
  if (product.stock <= 3) return `Last ${product.stock}`;
  if (product.season === "new") return "New";
  if (product.season === "last") return "Last season";
  return undefined;
}

/** A product's picture on its tint. */
export const plate = (product, size = "") =>
  styled(h("div", { class: `plate ${size}` }, picture(product)), { "--tint": tint(product) });

function card(product, decision, heading) {
  const said = flag(product);
  // Where it was chosen, so that a click says what it follows from.
  const from = decision?.decisionId;
  return h(
    "li",
    { class: "card", "data-key": product.id },
    h(
      "a",
      { href: `/item/${product.id}`, "data-placement": from && decision.placement },
      plate(product),
      h(heading, { class: "card-name" }, product.name),
      h("p", { class: "card-maker" }, product.maker),
      h("p", { class: "card-price" }, euros(product.price)),
      said && h("span", { class: "flag" }, said),
    ),
  );
}

/** A shelf of products in the order of their ids; `heading` is what its place in the page makes of a name. */
export function cards(ids, decision, name, heading = "h3") {
  const products = ids.map(find).filter((product) => product && product.stock > 0);
  return h("ul", { class: "cards", "aria-label": name }, products.map((product) => card(product, decision, heading)));
}
