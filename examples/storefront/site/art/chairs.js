// Chairs, with the wood of their material and the paint or cloth of their colour.
import { body, darker, ground, line, shape } from "./kit.js";

const leg = (from, to, wood, width = 7) => line(`M${from} L${to}`, width, wood, 1);

const dining = (look) =>
  ground(100, 56) +
  leg("68 110", "60 166", darker(look.wood, 0.25)) + leg("136 110", "144 166", darker(look.wood, 0.25)) +
  line("M66 112 L58 34 M134 112 L142 34", 7, look.wood, 1) + line("M80 104 L76 44 M93 104 L91 42 M107 104 L109 42 M120 104 L124 44", 4, look.wood, 1) +
  body("M50 26 C80 36 120 36 150 26 L148 46 C120 55 80 55 52 46Z", look, { split: 40 }) +
  leg("58 118", "48 168", look.wood) + leg("142 118", "152 168", look.wood) + line("M54 144 H146", 4, darker(look.wood, 0.15), 1) +
  body("M50 104 H150 L158 118 C158 124 154 126 148 126 H52 C46 126 42 124 42 118Z", look, { split: 116 });

const stool = (look) =>
  ground(100, 50) +
  leg("100 92", "100 166", darker(look.wood, 0.3)) + leg("72 92", "54 168", look.wood, 8) + leg("128 92", "146 168", look.wood, 8) +
  `<ellipse cx="100" cy="136" rx="37" ry="7" fill="none" stroke="${darker(look.wood, 0.12)}" stroke-width="4"/>` +
  body("M52 78 C52 66 74 62 100 62 C126 62 148 66 148 78 V88 C148 98 126 102 100 102 C74 102 52 98 52 88Z", look, { split: 84 }) +
  `<ellipse cx="100" cy="77" rx="48" ry="13" fill="#fffaf0" opacity=".16"/>`;

const lounge = (look) =>
  ground(104, 70) +
  leg("58 118", "46 168", look.wood, 8) + leg("146 116", "158 168", look.wood, 8) + line("M38 92 C70 84 98 98 110 110 L168 104", 8, look.wood, 1) +
  body("M48 40 C56 30 70 32 76 44 L108 112 C112 122 106 130 96 128 L76 124 C68 122 64 118 62 110Z", look, { split: 84 }) +
  body("M84 108 C90 100 150 94 164 98 C174 102 174 118 166 124 C150 132 100 136 86 130 C78 126 78 114 84 108Z", look, { split: 116 }) +
  line("M62 66 L84 60 M74 96 L98 90", 1.6, "#1d1613", 0.3) + line("M52 96 C80 92 120 88 150 84", 7, darker(look.wood, 0.12), 1);

const bench = (look) =>
  ground(100, 86) +
  leg("34 120", "28 168", look.wood, 8) + leg("166 120", "172 168", look.wood, 8) + leg("56 120", "60 164", darker(look.wood, 0.25), 6) + leg("144 120", "140 164", darker(look.wood, 0.25), 6) +
  line("M28 118 L24 60 M172 118 L176 60", 7, look.wood, 1) + line("M26 78 H174 M27 94 H173", 6, look.wood, 1) +
  body("M18 52 C60 60 140 60 182 52 L181 66 C140 73 60 73 19 66Z", look, { split: 62 }) +
  body("M20 110 H180 L186 120 C186 127 182 128 176 128 H24 C18 128 14 127 14 120Z", look, { split: 120 });

export default { dining, stool, lounge, bench };
