// The whole shop, or one kind of it, in the order of this visitor.

import { all, candidates } from "../catalogue.js";
import { h } from "../dom.js";
import { cards } from "../parts.js";
import * as session from "../session.js";

const ABOUT = {
  shoes: "Resoled for as long as you like.", knitwear: "From sheep that we could name.", jackets: "Wax, wool and a good collar.", bags: "They stand up on their own.",
  hats: "For weather and other days.", ceramics: "From four kilns.", lamps: "Light for one page.", chairs: "Pegged, not screwed.",
};

const capital = (word) => word[0].toUpperCase() + word.slice(1);

export const title = ({ category }) => (category ? capital(category) : "All");

export function draw({ category }) {
  const allowed = category ? candidates("category", { category }) : all().map((product) => product.id);
  if (!allowed.length) return undefined;
  const count = category ? 25 : 24;
  const { decision, ids } = session.ranked(category ? "plp-rank" : "shelf", allowed, count);
  return [
    h(
      "header",
      { class: "shelf-head" },
      h("h1", {}, category ? capital(category) : "Everything"),
      h("p", {}, category ? ABOUT[category] : "Two hundred things, the likeliest first."),
    ),
    cards(ids, decision, category ? capital(category) : "Everything", "h2"),
  ];
}
