// Every picture of the shop: a product's attributes in, an SVG out. Nothing is loaded, so nothing jumps when it comes.
import bags from "./bags.js";
import ceramics from "./ceramics.js";
import chairs from "./chairs.js";
import hats from "./hats.js";
import jackets from "./jackets.js";
import { PAINTS, WOODS, fresh, mix } from "./kit.js";
import knitwear from "./knitwear.js";
import lamps from "./lamps.js";
import shoes from "./shoes.js";

const KINDS = { shoes, knitwear, jackets, bags, hats, ceramics, lamps, chairs };

/** What the drawings of a kind are asked with. */
const look = (product) => ({
  colour: PAINTS[product.colour],
  accent: PAINTS[product.accent],
  pattern: product.pattern,
  wood: WOODS[product.material] ?? WOODS.oak,
  id: fresh(),
});

const drawing = (product) => KINDS[product.category][product.form](look(product));

/** Parses a drawing of ours; no text of others is in it. */
function parse(content, viewBox, label) {
  const name = label ? `role="img" aria-label="${label}"` : 'aria-hidden="true"';
  const text = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${viewBox}" ${name}>${content}</svg>`;
  return document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
}

/** A product on its own. Its name stands beside it, so it is silent. */
export const picture = (product) => parse(drawing(product), "0 0 200 200");

/** The tint behind a product: its colour, far away. */
export const tint = (product) => mix(PAINTS[product.colour], "#f3eee3", 0.8);

/** Three products on a shelf, for the top of the home page. */
export function scene(products) {
  const places = [[0, 26, 0.98], [178, 0, 1.12], [382, 32, 0.94]];
  const drawn = products.slice(0, 3).map((product, at) => {
    const [x, y, size] = places[at];
    return `<g transform="translate(${x} ${y + (1.12 - size) * 168}) scale(${size})">${drawing(product)}</g>`;
  });
  return parse(`<g transform="translate(10 24)">${drawn.join("")}</g>`, "0 0 600 260");
}

/** The shop's mark: a fieldfare on a twig. */
export const mark = () =>
  parse(
    `<path d="M4 27 C14 24 24 25 30 23" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"/>
     <path d="M7 9 C9 4 15 3 18 7 C20 10 25 13 29 19 L24 18 C22 23 16 25 12 22 C8 19 7 15 8 12 L4 11Z" fill="currentColor"/>
     <path d="M14 14 C18 14 21 16 24 18 C20 20 16 19 14 14Z" fill="var(--rust)"/><circle cx="11.6" cy="8.4" r="1.1" fill="var(--paper)"/>
     <path d="M15 24 v3 M18 23 v3.4" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/>`,
    "0 0 34 32",
  );
