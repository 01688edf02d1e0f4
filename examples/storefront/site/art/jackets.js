// Jackets and coats, from the front.
import { body, button, darker, ground, lighter, line, mirror, shape } from "./kit.js";

const sleeve = (look, end = 142) =>
  body(`M62 46 C46 52 38 70 33 98 C30 ${end - 24} 28 ${end - 10} 27 ${end} L47 ${end + 6} C50 ${end - 20} 54 112 62 98Z`, look, { split: 200, light: false }) +
  line(`M28 ${end - 8} l20 6`, 2, "#1d1613", 0.3);

const both = (part) => part + mirror(part);

const pocket = (x, y, width, height, colour) =>
  `<path d="M${x} ${y} h${width} v${height - 5} q0 5 -5 5 h-${width - 10} q-5 0 -5 -5Z" fill="${darker(colour, 0.1)}"/>` +
  line(`M${x} ${y} h${width} v${height - 5} q0 5 -5 5 h-${width - 10} q-5 0 -5 -5Z`, 1.5, "#1d1613", 0.3) +
  line(`M${x} ${y + 7} h${width}`, 1.5, "#1d1613", 0.3);

const chore = (look) =>
  ground(100, 66, 170) + both(sleeve(look)) +
  body("M74 42 L126 42 L142 50 C146 90 146 130 146 164 H54 C54 130 54 90 58 50Z", look, { split: 112 }) +
  shape("M74 42 L100 66 L84 76 L66 47Z", darker(look.colour, 0.16)) + shape("M126 42 L100 66 L116 76 L134 47Z", darker(look.colour, 0.22)) +
  shape("M80 40 C90 47 110 47 120 40 L100 66Z", look.accent) +
  line("M100 66 V164", 1.8, "#1d1613", 0.4) + [82, 102, 122, 142].map((y) => button(105, y, lighter(look.accent, 0.1))).join("") +
  pocket(62, 116, 28, 34, look.colour) + pocket(112, 116, 28, 34, look.colour) + pocket(114, 78, 22, 22, look.colour);

const parka = (look) =>
  ground(100, 64, 175) + both(sleeve(look, 146)) +
  shape("M68 50 C66 28 82 18 100 18 C118 18 134 28 132 50 C120 64 80 64 68 50Z", darker(look.colour, 0.2)) +
  shape("M79 48 C78 34 88 27 100 27 C112 27 122 34 121 48 C114 58 86 58 79 48Z", look.accent) +
  body("M66 50 C82 60 118 60 134 50 L142 54 C148 96 149 140 150 170 C118 175 82 175 50 170 C51 140 52 96 58 54Z", look, { split: 124 }) +
  `<path d="M94 58 h12 v114 h-12Z" fill="${darker(look.colour, 0.12)}"/>` + line("M100 60 V171", 1.6, "#1d1613", 0.45) +
  [76, 98, 120, 142].map((y) => button(106, y, "#e3c27a", 2.2)).join("") +
  line("M57 108 C80 113 120 113 143 108", 1.8, "#1d1613", 0.3) + pocket(60, 126, 28, 26, look.colour) + pocket(112, 126, 28, 26, look.colour) +
  line("M88 58 l-3 18 M112 58 l3 18", 2.2, "#fffaf0", 0.85);

const raincoat = (look) =>
  ground(100, 66, 175) + both(sleeve(look, 144)) +
  body("M74 42 C90 50 110 50 126 42 L140 48 C148 96 154 140 158 168 C120 174 80 174 42 168 C46 140 52 96 60 48Z", look, { split: 130 }) +
  shape("M70 44 C72 32 128 32 130 44 C122 58 78 58 70 44Z", darker(look.colour, 0.18)) + shape("M78 44 C82 38 118 38 122 44 C114 52 86 52 78 44Z", look.accent) +
  line("M100 54 V171", 1.8, "#1d1613", 0.4) + [72, 94, 116, 138].map((y) => button(107, y, look.accent, 3)).join("") +
  line("M64 124 l16 10 M136 124 l-16 10", 5, darker(look.colour, 0.3), 0.9);

const quilted = (look) => {
  const rows = [];
  for (let at = -9; at < 16; at += 1) rows.push(`M${at * 14} 40 l120 130 M${200 - at * 14} 40 l-120 130`);
  const shell = "M76 42 C90 48 110 48 124 42 L142 50 C146 90 147 130 147 164 H53 C53 130 54 90 58 50Z";
  return ground(100, 66, 170) + both(sleeve(look)) + body(shell, look, { split: 116 }) +
    `<clipPath id="q${look.id}"><path d="${shell}"/></clipPath><g clip-path="url(#q${look.id})">${line(rows.join(""), 1.3, "#1d1613", 0.24)}</g>` +
    shape("M76 42 C78 34 122 34 124 42 C118 53 82 53 76 42Z", look.accent) +
    line("M100 50 V164", 2, "#1d1613", 0.4) + [66, 88, 110, 132, 154].map((y) => button(100, y, "#e3c27a", 2.6)).join("") +
    line("M64 120 l18 0 M136 120 l-18 0", 5, look.accent, 0.9);
};

export default { chore, parka, raincoat, quilted };
