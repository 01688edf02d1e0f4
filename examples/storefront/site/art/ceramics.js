// Ceramics: what a wheel makes.
import { body, darker, ground, lighter, line, shape } from "./kit.js";

const rim = (x, y, rx, ry, colour) => `<ellipse cx="${x}" cy="${y}" rx="${rx}" ry="${ry}" fill="${darker(colour, 0.42)}"/>` +
  `<ellipse cx="${x}" cy="${y}" rx="${rx}" ry="${ry}" fill="none" stroke="${lighter(colour, 0.3)}" stroke-width="2.6"/>`;
const gleam = (d) => line(d, 5, "#fffaf0", 0.4);

const mug = (look) =>
  ground(98, 56) +
  line("M138 98 C172 90 174 146 136 140", 12, darker(look.colour, 0.12), 1) +
  body("M54 80 H142 C143 108 142 136 136 158 C132 168 120 168 98 168 C76 168 64 168 60 158 C54 136 53 108 54 80Z", look, { split: 124 }) +
  rim(98, 80, 44, 9, look.colour) + gleam("M66 100 C65 118 67 134 70 146");

const vase = (look) =>
  ground(100, 44) +
  line("M100 60 C98 40 92 24 84 12 M100 60 C104 42 112 30 124 22", 2.4, "#5d6b45", 1) +
  `<g fill="${look.accent}"><circle cx="84" cy="12" r="7"/><circle cx="124" cy="22" r="6"/></g>` + shape("M94 36 q-18 2 -22 -10 q18 -2 22 10Z M108 34 q4 -16 20 -12 q-4 14 -20 12Z", "#77824f") +
  body("M86 60 C86 78 62 88 58 116 C55 140 70 168 100 168 C130 168 145 140 142 116 C138 88 114 78 114 60Z", look, { split: 126 }) +
  rim(100, 60, 14.5, 4.6, look.colour) + gleam("M72 108 C68 124 72 140 80 150");

const bowl = (look) =>
  ground(100, 56) +
  shape("M78 156 H122 L118 168 H82Z", darker(look.colour, 0.25)) +
  body("M30 96 H170 C168 134 140 160 100 160 C60 160 32 134 30 96Z", look, { split: 126 }) +
  rim(100, 96, 70, 14, look.colour) + gleam("M46 116 C52 130 62 140 74 146");

const jug = (look) =>
  ground(100, 50) +
  line("M134 86 C172 80 172 140 134 142", 11, darker(look.colour, 0.12), 1) +
  body("M62 62 L72 74 C70 90 58 104 57 128 C56 154 72 168 98 168 C124 168 140 154 139 128 C138 104 128 90 128 62 C110 56 86 58 76 62 C72 58 66 56 56 58Z", look, { split: 128 }) +
  rim(102, 62, 26, 5.4, look.colour) + gleam("M70 114 C67 130 72 144 80 152");

export default { mug, vase, bowl, jug };
