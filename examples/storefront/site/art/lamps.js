// Lamps, lit.
import { body, darker, fresh, ground, line, shape } from "./kit.js";

const BRASS = "#c9a35a";

/** The light, soft at its edge. */
function glow(x, y, r) {
  const id = fresh();
  return `<radialGradient id="${id}"><stop offset="0" stop-color="#ffe2a1" stop-opacity=".75"/><stop offset="1" stop-color="#ffe2a1" stop-opacity="0"/></radialGradient><circle cx="${x}" cy="${y}" r="${r}" fill="url(#${id})"/>`;
}

const table = (look) =>
  glow(100, 84, 84) + ground(100, 46) +
  shape("M92 104 H108 C106 124 124 134 126 150 C127 162 118 168 100 168 C82 168 73 162 74 150 C76 134 94 124 92 104Z", look.accent) +
  line("M84 150 C84 142 90 136 94 130", 4, "#fffaf0", 0.45) +
  body("M74 34 H126 L148 108 C120 114 80 114 52 108Z", look, { split: 92 }) +
  line("M74 34 H126 M52 108 C80 114 120 114 148 108", 2.4, darker(look.colour, 0.3), 0.6);

const pendant = (look) =>
  glow(100, 134, 66) +
  line("M100 0 V62", 2.6, "#2a2622", 0.9) + shape("M92 58 H108 L112 74 H88Z", BRASS) +
  body("M88 72 H112 C146 80 160 104 162 128 C122 136 78 136 38 128 C40 104 54 80 88 72Z", look, { split: 104 }) +
  `<ellipse cx="100" cy="129" rx="62" ry="7.5" fill="#ffedc2"/><circle cx="100" cy="131" r="9" fill="#fff8e6"/>`;

const desk = (look) =>
  glow(142, 104, 62) + ground(84, 54) +
  shape("M50 160 C50 154 66 152 84 152 C102 152 118 154 118 160 V166 C118 168 50 168 50 166Z", look.accent) +
  line("M84 154 L62 92 L122 46", 6, darker(look.colour, 0.25), 1) + `<circle cx="62" cy="92" r="7" fill="${BRASS}"/><circle cx="122" cy="46" r="6" fill="${BRASS}"/>` +
  `<g transform="rotate(28 130 62)">${body("M118 44 C122 36 138 36 142 44 L160 86 C142 92 118 92 100 86Z", look, { split: 70 })}<ellipse cx="130" cy="87" rx="30" ry="5" fill="#ffedc2"/></g>`;

const globe = (look) =>
  glow(100, 88, 90) + ground(100, 40) +
  shape("M76 146 H124 L130 168 H70Z", look.colour) + shape("M70 162 H130 V168 H70Z", darker(look.colour, 0.25)) +
  shape("M82 136 H118 V148 H82Z", BRASS) +
  `<circle cx="100" cy="86" r="54" fill="#fbf1dc"/>` + shape("M148 62 C160 108 130 142 92 139 C128 132 148 104 148 62Z", "#e6d3ae", 'opacity=".8"') +
  line("M62 74 C66 58 76 48 88 44", 5, "#ffffff", 0.9) +
  (look.pattern === "plain" ? "" : shape("M47 96 C76 108 124 108 153 96 C152 106 149 112 145 118 C118 126 82 126 55 118 C51 112 48 106 47 96Z", look.accent, 'opacity=".85"'));

export default { table, pendant, desk, globe };
