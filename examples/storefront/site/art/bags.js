// Bags, standing.
import { body, darker, ground, line, shape } from "./kit.js";

const BRASS = "#d9b24c";

const tote = (look) =>
  ground(100, 62) +
  line("M76 86 C74 40 126 40 124 86", 7, darker(look.accent, 0.2), 1) +
  body("M50 78 H150 L158 160 C158 166 154 168 150 168 H50 C46 168 42 166 42 160Z", look, { split: 128 }) +
  line("M50 78 H150 L151 88 H49Z", 1.6, "#1d1613", 0.3) +
  line("M78 78 V104 M122 78 V104", 7, look.accent, 1) + line("M75 98 l6 6 m0 -6 l-6 6 M119 98 l6 6 m0 -6 l-6 6", 1.4, "#1d1613", 0.5);

const backpack = (look) =>
  ground(100, 58) +
  line("M86 46 C86 26 114 26 114 46", 6, darker(look.colour, 0.35), 1) +
  shape("M50 92 C38 102 38 138 46 152 L58 150 V90Z", darker(look.colour, 0.35)) + shape("M150 92 C162 102 162 138 154 152 L142 150 V90Z", darker(look.colour, 0.4)) +
  body("M54 78 C54 54 74 42 100 42 C126 42 146 54 146 78 V154 C146 164 140 168 132 168 H68 C60 168 54 164 54 154Z", look, { split: 118 }) +
  shape("M54 84 C54 58 74 42 100 42 C126 42 146 58 146 84 C146 98 136 104 100 104 C64 104 54 98 54 84Z", darker(look.colour, 0.14)) +
  `<rect x="66" y="118" width="68" height="40" rx="9" fill="${look.accent}"/>` + line("M66 130 H134", 1.8, "#1d1613", 0.35) +
  line("M82 98 V124 M118 98 V124", 6, darker(look.accent, 0.35), 1) +
  `<rect x="77" y="108" width="10" height="9" rx="2" fill="none" stroke="${BRASS}" stroke-width="2.4"/><rect x="113" y="108" width="10" height="9" rx="2" fill="none" stroke="${BRASS}" stroke-width="2.4"/>`;

const satchel = (look) =>
  ground(100, 66) +
  line("M46 96 C40 30 160 30 154 96", 6, darker(look.accent, 0.25), 1) +
  body("M40 92 H160 V156 C160 164 154 168 148 168 H52 C46 168 40 164 40 156Z", look, { split: 140 }) +
  shape("M38 86 C38 80 42 78 46 78 H154 C158 78 162 80 162 86 V118 C162 134 140 138 100 138 C60 138 38 134 38 118Z", darker(look.colour, 0.12)) +
  line("M45 90 V116 C45 126 64 131 100 131 C136 131 155 126 155 116 V90", 1.4, "#fffaf0", 0.45) +
  line("M72 78 V150 M128 78 V150", 8, look.accent, 1) +
  `<rect x="66" y="128" width="12" height="12" rx="2.5" fill="none" stroke="${BRASS}" stroke-width="2.6"/><rect x="122" y="128" width="12" height="12" rx="2.5" fill="none" stroke="${BRASS}" stroke-width="2.6"/>`;

const weekender = (look) =>
  ground(100, 80) +
  line("M70 104 C68 52 132 52 130 104", 7, darker(look.accent, 0.3), 1) +
  body("M28 120 C26 98 40 86 62 86 H138 C160 86 174 98 172 120 L170 154 C169 164 162 168 152 168 H48 C38 168 31 164 30 154Z", look, { split: 134 }) +
  shape("M28 120 C27 106 33 96 42 91 C48 112 48 146 44 168 C36 167 31 163 30 154Z", look.accent) + shape("M172 120 C173 106 167 96 158 91 C152 112 152 146 156 168 C164 167 169 163 170 154Z", darker(look.accent, 0.12)) +
  line("M50 92 C80 88 120 88 150 92", 3, "#1d1613", 0.35) + line("M72 100 V166 M128 100 V166", 8, darker(look.accent, 0.3), 1) +
  `<circle cx="100" cy="91" r="3.4" fill="${BRASS}"/>`;

export default { tote, backpack, satchel, weekender };
