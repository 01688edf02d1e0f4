// Shoes, seen from the side, toes to the right.
import { body, darker, ground, lighter, line, shape } from "./kit.js";

const laces = (from, count, dx, dy) =>
  Array.from({ length: count }, (_, at) => line(`M${from[0] + at * dx} ${from[1] + at * dy} l13 -7`, 3, "#fffaf0", 0.95)).join("");

const trainer = (look) =>
  ground(103, 74) +
  body("M37 152 C33 128 35 96 45 84 C49 79 56 80 60 85 C66 93 76 96 86 92 C92 90 97 91 101 97 C112 113 132 119 152 124 C167 128 174 138 173 152Z", look, { split: 128 }) +
  shape("M37 152 C34 130 35 104 42 90 C50 100 52 128 50 152Z", look.accent) +
  shape("M138 121 C160 124 174 134 173 152 L146 152 C150 140 148 130 138 121Z", darker(look.colour, 0.14)) +
  shape("M31 150 H175 C178 150 179 153 178 157 C177 164 171 166 162 166 H42 C33 166 29 158 31 150Z", "#f6f0e4") +
  line("M34 158 H176", 1.6, "#1d1613", 0.22) +
  laces([88, 108], 4, 9.5, 4.6) +
  line("M60 85 C66 96 78 99 90 93", 2.4, darker(look.colour, 0.4), 0.8);

const boot = (look) =>
  ground(106, 72) +
  body("M57 50 C70 46 88 46 102 50 C101 72 102 92 110 104 C122 114 146 115 160 124 C171 131 174 142 173 154 H53 C50 120 52 84 57 50Z", look, { split: 112 }) +
  shape("M57 50 C70 46 88 46 102 50 L102 60 C86 57 70 57 56 60Z", look.accent) +
  shape("M140 116 C164 120 175 134 173 154 H150 C153 138 150 126 140 116Z", darker(look.colour, 0.16)) +
  shape("M49 152 H176 C178 158 177 162 174 163 H96 L92 168 H50 C47 163 47 157 49 152Z", darker(look.colour, 0.55)) +
  laces([88, 74], 5, 2.6, 9.6) +
  line("M70 60 C68 90 72 116 92 122 C112 126 128 118 140 117", 1.8, darker(look.colour, 0.45), 0.7);

const chelsea = (look) =>
  ground(106, 72) +
  body("M58 58 C72 53 90 53 104 58 C102 78 104 95 112 106 C124 116 146 117 160 126 C171 133 174 143 173 154 H54 C51 124 53 88 58 58Z", look, { split: 118 }) +
  shape("M72 56 C82 54 90 55 97 57 C94 80 92 98 84 112 C76 98 72 78 72 56Z", look.accent) +
  [76, 80, 84, 88, 92].map((x) => line(`M${x} 60 L${82 + (x - 84) * 0.35} 100`, 1, "#1d1613", 0.35)).join("") +
  shape("M60 60 q-8 -14 1 -16 q7 1 5 14Z", darker(look.colour, 0.3)) +
  shape("M50 152 H176 C178 158 177 161 174 162 H98 L94 168 H51 C48 163 48 157 50 152Z", darker(look.colour, 0.55));

const loafer = (look) =>
  ground(103, 74) +
  body("M33 154 C29 138 31 122 40 116 C52 110 64 118 78 121 C92 123 102 112 116 113 C142 115 170 126 174 144 L174 154Z", look, { split: 138 }) +
  shape("M40 116 C52 110 64 118 78 121 C70 130 50 130 38 124Z", darker(look.colour, 0.35)) +
  shape("M82 121 C94 122 100 114 112 113 C120 124 122 140 118 154 H96 C98 142 94 130 82 121Z", look.accent) +
  line("M97 136 h14", 5, darker(look.accent, 0.4), 0.9) +
  line("M122 116 C140 118 152 126 156 138", 1.8, darker(look.colour, 0.4), 0.7) +
  shape("M30 152 H176 C178 157 176 160 172 160 H66 L62 167 H32 C29 162 29 157 30 152Z", darker(look.colour, 0.5));

const sandal = (look) =>
  ground(102, 74) +
  shape("M28 146 C60 138 92 154 124 150 C146 148 160 146 174 146 C179 150 178 162 170 164 H40 C30 164 26 154 28 146Z", "#8d6a4b") +
  shape("M28 146 C60 138 92 154 124 150 C146 148 160 146 174 146 C176 149 176 152 175 154 C150 154 130 158 110 158 C80 158 58 148 29 153Z", lighter("#b58b62", 0.15)) +
  body("M112 154 C112 128 126 118 142 120 C156 122 164 134 166 150 L150 151 C148 138 142 132 134 134 C128 136 126 144 127 153Z", look, { split: 134 }) +
  body("M44 146 C46 122 58 106 72 108 C88 110 96 128 100 152 L86 150 C82 132 76 122 70 123 C62 124 58 134 57 145Z", look, { split: 126 }) +
  shape("M38 146 C34 126 38 106 46 98 C52 94 58 100 55 108 C50 120 48 134 50 145Z", look.accent) +
  `<rect x="62" y="109" width="11" height="9" rx="2" fill="none" stroke="#d9b24c" stroke-width="2.4"/>`;

export default { trainer, boot, chelsea, loafer, sandal };
