// Hats, on nobody's head.
import { body, darker, ground, line, shape } from "./kit.js";

const beanie = (look) =>
  ground(100, 54) +
  `<circle cx="100" cy="48" r="17" fill="${look.accent}"/>` + line("M90 40 l6 6 M104 36 l-2 8 M112 46 l-8 3 M94 56 l5 -5 M106 57 l-3 -6", 2, "#fffaf0", 0.5) +
  body("M52 136 C48 88 70 58 100 58 C130 58 152 88 148 136Z", look, { split: 104 }) +
  line("M76 72 C68 92 66 114 66 134 M100 60 V134 M124 72 C132 92 134 114 134 134", 1.5, "#1d1613", 0.22) +
  `<rect x="46" y="128" width="108" height="38" rx="13" fill="${darker(look.colour, 0.15)}"/>` +
  line(Array.from({ length: 12 }, (_, at) => `M${56 + at * 8} 133 v28`).join(""), 1.8, "#1d1613", 0.22);

const cap = (look) =>
  ground(104, 68) +
  body("M40 150 C34 98 62 66 96 66 C130 66 150 96 150 146 C118 138 74 138 40 150Z", look, { split: 112 }) +
  line("M96 66 C92 92 92 118 95 140 M96 66 C70 80 58 112 60 145 M96 66 C118 82 128 110 128 141", 1.6, "#1d1613", 0.26) +
  `<circle cx="96" cy="66" r="5" fill="${look.accent}"/>` +
  shape("M148 144 C172 142 190 152 190 160 C190 166 160 168 96 158 C70 154 52 154 40 158 C37 152 39 148 42 147 C76 138 118 138 148 144Z", look.accent) +
  line("M60 150 C100 146 150 150 184 160", 1.5, "#1d1613", 0.25);

const bucket = (look) =>
  ground(100, 76) +
  body("M62 120 C64 92 68 74 74 66 C90 60 110 60 126 66 C132 74 136 92 138 120Z", look, { split: 100 }) +
  shape("M74 66 C90 60 110 60 126 66 C112 74 88 74 74 66Z", darker(look.colour, 0.12)) +
  shape("M62 116 C86 124 114 124 138 116 C150 128 168 144 178 156 C174 166 130 170 100 170 C70 170 26 166 22 156 C32 144 50 128 62 116Z", darker(look.colour, 0.07)) +
  line("M54 128 C84 138 116 138 146 128 M42 142 C76 154 124 154 158 142 M32 152 C74 166 126 166 168 152", 1.4, "#1d1613", 0.25) +
  line("M62 114 C86 122 114 122 138 114", 5, look.accent, 1);

const brim = (look) =>
  ground(100, 84) +
  shape("M14 150 C14 138 60 132 100 132 C140 132 186 138 186 150 C186 160 140 166 100 166 C60 166 14 160 14 150Z", darker(look.colour, 0.1)) +
  body("M56 146 C54 106 60 76 74 68 C84 62 92 68 102 69 C112 70 118 64 127 68 C140 76 146 106 144 146 C118 154 82 154 56 146Z", look, { split: 200 }) +
  line("M76 70 C84 78 94 82 102 82 C110 82 118 78 125 70", 2, "#1d1613", 0.3) +
  shape("M56 128 C84 138 116 138 144 128 L144 146 C118 154 82 154 56 146Z", look.accent) +
  shape("M140 128 l12 -26 q8 8 0 20 l-8 16Z", darker(look.accent, 0.25)) +
  line("M18 151 C40 162 160 162 182 151", 1.4, "#fffaf0", 0.35);

export default { beanie, cap, bucket, brim };
