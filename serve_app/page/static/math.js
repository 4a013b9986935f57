// Mathematics and prose as elements: `math` sets TeX as MathML, `prose` finds it in a text.
//
// Nothing a model writes becomes markup: elements are made one by one, under names that stand here. What cannot be set
// is shown as it was written.

import { element, mathml } from "./dom.js";
import { parse, TexUnknown } from "./tex.js";

const LONG_ITEMS = 12;
const RELATIONS = "=≡≈≤≥<>≠∈→⇒⟹⇔⟺";
const DOUBLE = { C: "ℂ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ", H: "ℍ" };

/** The source as MathML, or null where any of it is unknown. */
export function math(source, display = false) {
  const tree = treeOf(source);
  return tree && whole(tree, display);
}

/** As `math` in a line of text; a long chain of relations is several formulas, since lines only break between them. */
function inline(source) {
  const tree = treeOf(source);
  if (!tree || tree.items.length < LONG_ITEMS) return tree && whole(tree, false);
  const parts = [[]];
  for (const item of tree.items) {
    const isRelation = item.kind === "op" && RELATIONS.includes(item.text);
    if (isRelation && parts.at(-1).length) parts.push([]);
    parts.at(-1).push(isRelation ? { ...item, form: "infix" } : item);
  }
  const formulas = parts.map((items) => whole({ kind: "row", items }, false));
  return element("span", {}, ...formulas.flatMap((formula) => [formula, element("wbr")]).slice(0, -1));
}

function treeOf(source) {
  try {
    return parse(source);
  } catch (error) {
    if (error instanceof TexUnknown) return null;
    throw error;
  }
}

function whole(tree, display) {
  const drawn = mathml("math", { display: display ? "block" : "inline" });
  drawn.append(draw(tree));
  return drawn;
}

function draw(node) {
  return DRAW[node.kind](node);
}

const DRAW = {
  row: (node) =>
    mathml(
      "mrow",
      {},
      ...node.items.map((item, at) => draw(isSign(node.items, at) ? { ...item, form: "prefix" } : item)),
    ),
  id: (node) => mathml("mi", { mathvariant: node.upright ? "normal" : null }, node.text),
  num: (node) => mathml("mn", {}, node.text),
  op: (node) => mathml("mo", { form: node.form }, node.text),
  text: (node) => mathml("mtext", {}, node.text.replace(/^ | $/g, "\u00a0")),
  space: (node) => mathml("mspace", { width: `${node.width}em` }),
  frac: (node) => mathml("mfrac", { linethickness: node.bare ? "0" : null }, draw(node.top), draw(node.bottom)),
  root: (node) =>
    node.index ? mathml("mroot", {}, draw(node.base), draw(node.index)) : mathml("msqrt", {}, draw(node.base)),
  boxed: (node) => mathml("mrow", { class: "boxed" }, draw(node.base)),
  over: (node) => mathml("mover", { accent: "true" }, draw(node.base), draw(node.mark)),
  under: (node) => mathml("munder", {}, draw(node.base), draw(node.mark)),
  fence: (node) => mathml("mrow", {}, ...fenced(node.open, draw(node.body), node.close)),
  table: (node) => mathml("mrow", {}, ...fenced(node.open, table(node), node.close)),
  styled: (node) =>
    mathml(
      "mrow",
      { class: `variant-${node.variant}` },
      draw(node.variant === "double" ? doubled(node.base) : upright(node)),
    ),
  scripts: drawScripts,
};

/** Whether the plus or minus at `at` is a sign: it follows another operator, or nothing. */
function isSign(items, at) {
  const before = items[at - 1];
  return "−+±∓".includes(items[at].text) && (!before || (before.kind === "op" && !")]}!|".includes(before.text)));
}

function drawScripts({ base, sub, sup, limits }) {
  const [below, above, both] = limits ? ["munder", "mover", "munderover"] : ["msub", "msup", "msubsup"];
  if (sub && sup) return mathml(both, {}, draw(base), draw(sub), draw(sup));
  return sub ? mathml(below, {}, draw(base), draw(sub)) : mathml(above, {}, draw(base), draw(sup));
}

function fenced(open, inside, close) {
  const mark = (text, form) => (text ? [mathml("mo", { stretchy: "true", fence: "true", form }, text)] : []);
  return [...mark(open, "prefix"), inside, ...mark(close, "postfix")];
}

function table(node) {
  const rows = node.rows.map((cells) => mathml("mtr", {}, ...cells.map((cell) => mathml("mtd", {}, draw(cell)))));
  return mathml("mtable", { class: `cells-${node.align}` }, ...rows);
}

/** A node with its letters in another style, as deep as groups go. */
function restyled(node, change) {
  if (node.kind === "row") return { ...node, items: node.items.map((item) => restyled(item, change)) };
  return node.kind === "id" ? change(node) : node;
}

const doubled = (node) =>
  restyled(node, (letter) => ({ ...letter, text: DOUBLE[letter.text] ?? letter.text, upright: true }));
const upright = ({ base, variant }) => restyled(base, (letter) => ({ ...letter, upright: variant !== "italic" }));

// --- prose ------------------------------------------------------------------------------------------------------------

// Lengths are bounded so that a text full of marks that never close costs no more than its length times the bound.
const MARKS =
  /\$\$([^$]{1,2000})\$\$|\\\[([^]{1,2000}?)\\\]|\\\(([^]{1,2000}?)\\\)|\$(?=\S)((?:\\[^]|[^$\\]){1,1000}?)(?<!\s)\$(?!\d)|(\\boxed\s*\{)|\*\*(?=\S)([^*\n]{1,500}?)\*\*|`([^`\n]{1,500})`/g;

/** A text as nodes: prose, with its mathematics set, bold and code marked. */
export function prose(text) {
  const nodes = [];
  let done = 0;
  MARKS.lastIndex = 0;
  for (let found; (found = MARKS.exec(text)) !== null;) {
    const end = found[5] === undefined ? MARKS.lastIndex : boxEnd(text, MARKS.lastIndex);
    if (end === 0) continue; // a box that never closes is text
    if (found.index > done) nodes.push(text.slice(done, found.index));
    const node = marked(found, text.slice(found.index, end));
    const mark = /[.,;:!?)]*/y;
    mark.lastIndex = end;
    const [after] = mark.exec(text); // a full stop does not begin a line
    nodes.push(after ? element("span", { class: "together" }, node, after) : node);
    done = MARKS.lastIndex = end + after.length;
  }
  nodes.push(text.slice(done));
  return nodes;
}

function marked([, dollars, brackets, parens, dollar, box, bold, code], source) {
  if (bold !== undefined) return element("strong", {}, bold);
  if (code !== undefined) return element("code", {}, code);
  const display = dollars ?? brackets;
  const tex = display ?? parens ?? dollar ?? (box && source);
  return (display === undefined ? inline(tex) : math(tex, true)) ?? element("code", { class: "tex" }, source);
}

/** Where the box whose brace was opened before `start` closes; 0 if it does not. */
function boxEnd(text, start) {
  for (let at = start, depth = 1; at < text.length && at < start + 2000; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "{") depth += 1;
    else if (text[at] === "}" && (depth -= 1) === 0) return at + 1;
  }
  return 0;
}
