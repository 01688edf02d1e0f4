// The illustrator's kit: paints, shading and patterns that all drawings share, so that 200 products look drawn by one hand.
// A drawing stands on the line y = 168 of a square of 200.

export const PAINTS = {
  ink: "#33425c", sky: "#8fb3cc", pine: "#2f5a4e", moss: "#77824f", rust: "#b9572f", ochre: "#d7a13c", clay: "#c98a6b",
  rose: "#dba7a1", plum: "#6f4560", oat: "#dccdb0", chalk: "#efe8da", charcoal: "#474543", walnut: "#7a563c", sage: "#a7b69a",
};

/** Wood and metal that is not painted, by material. */
export const WOODS = { ash: "#d9bd91", oak: "#bf9560", beech: "#d3a878", "walnut wood": "#80583b" };

export const LINE = "#2a2622";

let drawn = 0;

/** A new prefix for the ids of one drawing: they share one document. */
export const fresh = () => `a${(drawn += 1)}`;

/** Between two colours, 0 the first. */
export function mix(from, to, share) {
  const part = (text, at) => parseInt(text.slice(at, at + 2), 16);
  const one = (at) => Math.round(part(from, at) + (part(to, at) - part(from, at)) * share);
  return `#${[1, 3, 5].map((at) => one(at).toString(16).padStart(2, "0")).join("")}`;
}

export const darker = (colour, share = 0.22) => mix(colour, "#1d1613", share);
export const lighter = (colour, share = 0.25) => mix(colour, "#fffaf0", share);

/** A thin line of the pen. */
export const line = (d, width = 2, colour = LINE, opacity = 0.55) =>
  `<path d="${d}" fill="none" stroke="${colour}" stroke-opacity="${opacity}" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round"/>`;

export const shape = (d, colour, more = "") => `<path d="${d}" fill="${colour}" ${more}/>`;

/** The shadow on the ground. */
export const ground = (x = 100, half = 70, y = 168) => `<ellipse cx="${x}" cy="${y}" rx="${half}" ry="6" fill="#1d1613" opacity=".13"/>`;

/** What a pattern lays over a body, as the content of a square of its own size. */
const PATTERNS = {
  stripe: (accent) => ({ size: [20, 18], content: `<rect width="20" height="7" y="5" fill="${accent}"/>` }),
  check: (accent, base) => ({
    size: [22, 22],
    content: `<rect width="8" height="22" fill="${accent}" opacity=".45"/><rect width="22" height="8" fill="${accent}" opacity=".45"/><rect x="14.5" width="1.5" height="22" fill="${lighter(base, 0.5)}" opacity=".6"/>`,
  }),
  fairisle: (accent, base) => ({
    size: [16, 44],
    content: `<path d="M0 8 L4 3 L8 8 L12 3 L16 8 L16 11 L12 6 L8 11 L4 6 L0 11Z" fill="${accent}"/><rect y="15" width="16" height="2.4" fill="${lighter(base, 0.55)}"/><path d="M8 20 L12 25 L8 30 L4 25Z M0 20 L2 25 L0 30Z M16 20 L14 25 L16 30Z" fill="${accent}"/><rect y="33" width="16" height="2.4" fill="${lighter(base, 0.55)}"/>`,
  }),
  cable: (_, base) => ({
    size: [22, 16],
    content: `<path d="M7 0 C7 5 15 6 15 11 C15 14 13 15 13 16 M15 0 C15 5 7 6 7 11 C7 14 9 15 9 16" fill="none" stroke="${darker(base, 0.3)}" stroke-width="2.2"/><path d="M1 0V16" stroke="${darker(base, 0.18)}" stroke-width="1.4"/>`,
  }),
  fleck: (accent) => ({
    size: [26, 26],
    content: `<g fill="${accent}" opacity=".8"><circle cx="4" cy="6" r="1.7"/><circle cx="17" cy="3" r="1.1"/><circle cx="12" cy="15" r="1.9"/><circle cx="22" cy="20" r="1.3"/><circle cx="5" cy="22" r="1"/></g>`,
  }),
};

/**
 * A body: the shape in its colour, its pattern, the accent of a `block` or a `dip` from `split` down, and the light that comes
 * from the left above.
 */
export function body(d, { colour, accent, pattern }, { split = 116, light = true } = {}) {
  const id = fresh();
  const made = PATTERNS[pattern]?.(accent, colour);
  const tile = made
    ? `<pattern id="${id}p" width="${made.size[0]}" height="${made.size[1]}" patternUnits="userSpaceOnUse">${made.content}</pattern>`
    : "";
  let over = made ? `<rect width="200" height="200" fill="url(#${id}p)"/>` : "";
  if (pattern === "block") over += `<rect y="${split}" width="200" height="${200 - split}" fill="${accent}"/>`;
  if (pattern === "dip") {
    over += `<path d="M0 ${split} C30 ${split - 9} 60 ${split + 9} 100 ${split} S170 ${split - 8} 200 ${split + 3} V200 H0Z" fill="${accent}"/>`;
  }
  const shade = light
    ? `<path d="M200 0 V200 H60 C120 176 146 120 138 0Z" fill="#1d1613" opacity=".1"/><path d="M0 0 H70 C44 60 44 120 58 200 H0Z" fill="#fffaf0" opacity=".1"/>`
    : "";
  return `<defs><clipPath id="${id}c"><path d="${d}"/></clipPath>${tile}</defs><path d="${d}" fill="${colour}"/><g clip-path="url(#${id}c)">${over}${shade}</g>`;
}

/** The mirror image about the middle. */
export const mirror = (content) => `<g transform="translate(200 0) scale(-1 1)">${content}</g>`;

export const button = (x, y, colour, r = 2.6) => `<circle cx="${x}" cy="${y}" r="${r}" fill="${colour}"/>`;
