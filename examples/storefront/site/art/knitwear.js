// Knitwear, laid flat.
import { body, button, darker, ground, line, mirror, shape } from "./kit.js";

const ribs = (x, y, width, height, colour) => {
  const lines = Array.from({ length: Math.floor(width / 6) }, (_, at) => `M${x + 4 + at * 6} ${y + 2} v${height - 4}`);
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="3" fill="${darker(colour, 0.13)}"/>` + line(lines.join(""), 1.2, "#1d1613", 0.25);
};

const sleeve = (look) =>
  body("M60 52 C44 58 36 78 31 104 C27 124 25 138 24 148 L44 153 C47 134 52 114 60 98Z", look, { split: 126, light: false }) +
  `<g transform="rotate(11 34 150)">${ribs(24, 144, 21, 12, look.colour)}</g>`;

const torso = "M72 46 C80 58 120 58 128 46 L143 53 C146 88 146 128 145 160 H55 C54 128 54 88 57 53Z";

const jumper = (look, neck) =>
  ground(100, 66, 172) + sleeve(look) + mirror(sleeve(look)) + body(torso, look, { split: 108 }) + ribs(54, 157, 92, 13, look.colour) + neck +
  line("M60 62 C62 80 62 94 61 106 M140 62 C138 80 138 94 139 106", 1.6, "#1d1613", 0.28);

const crew = (look) =>
  jumper(look, `<path d="M72 46 C80 62 120 62 128 46 L121 43 C115 54 85 54 79 43Z" fill="${darker(look.colour, 0.2)}"/>`);

const rollneck = (look) =>
  jumper(look, `<path d="M76 50 C76 40 77 34 79 28 C92 23 108 23 121 28 C123 34 124 40 124 50 C116 60 84 60 76 50Z" fill="${darker(look.colour, 0.1)}"/>` +
    line("M77 42 C90 48 110 48 123 42", 2, "#1d1613", 0.3) + line("M86 30 v14 M93 28 v18 M100 28 v18 M107 28 v18 M114 30 v14", 1.2, "#1d1613", 0.2));

const cardigan = (look) =>
  jumper(look, `<path d="M72 46 L100 104 L128 46 L120 43 L100 84 L80 43Z" fill="${darker(look.colour, 0.2)}"/>` +
    shape("M79 43 L100 84 L121 43 C110 48 90 48 79 43Z", darker(look.colour, 0.5)) +
    `<rect x="95" y="98" width="10" height="71" fill="${darker(look.colour, 0.16)}"/>` +
    [108, 123, 138, 153].map((y) => button(100, y, look.accent, 3.2)).join(""));

const vest = (look) =>
  ground(100, 52, 172) +
  body("M74 44 L100 88 L126 44 L140 50 C132 66 134 82 148 92 V160 H52 V92 C66 82 68 66 60 50Z", look, { split: 118 }) +
  shape("M74 44 L100 88 L126 44 L132 47 L100 98 L68 47Z", darker(look.colour, 0.2)) +
  line("M60 50 C68 66 66 82 52 92 M140 50 C132 66 134 82 148 92", 6, darker(look.colour, 0.2), 1) +
  ribs(51, 157, 98, 13, look.colour);

export default { crew, rollneck, cardigan, vest };
