// TeX's commands that take arguments: what each makes of what it reads. `tex.js` reads, this says what for.
//
// A reader gives arguments, words, rows and delimiters; what comes back is a node as tex.js describes them.

const fraction = (reader) => ({ kind: "frac", top: reader.argument(), bottom: reader.argument() });
const binomial = (reader) => ({ kind: "fence", open: "(", body: { ...fraction(reader), bare: true }, close: ")" });
const over = (reader) => ({ kind: "over", mark: reader.argument(), base: reader.argument() });
const named = (reader) => ({ kind: "id", text: reader.words(), upright: true });
const modulo = { kind: "id", text: "mod", upright: true };

function congruence(reader) {
  const items = [modulo, { kind: "space", width: 0.33 }, reader.argument()];
  return { kind: "fence", open: "(", body: { kind: "row", items }, close: ")" };
}

/** A relation with a stroke through it. */
function negated(reader) {
  const relation = reader.argument();
  return { ...relation, text: `${relation.text ?? ""}\u0338` };
}

export const COMMANDS = {
  frac: fraction,
  dfrac: fraction,
  tfrac: fraction,
  cfrac: fraction,
  binom: binomial,
  dbinom: binomial,
  tbinom: binomial,
  sqrt: (reader) => reader.root(),
  boxed: (reader) => ({ kind: "boxed", base: reader.argument() }),
  fbox: (reader) => ({ kind: "boxed", base: { kind: "text", text: reader.words() } }),
  left: (reader) => reader.fence(),
  begin: (reader) => reader.environment(),
  not: negated,
  operatorname: named,
  "operatorname*": named,
  overset: over,
  stackrel: over,
  underset: (reader) => ({ kind: "under", mark: reader.argument(), base: reader.argument() }),
  underline: (reader) => ({ kind: "under", base: reader.argument(), mark: { kind: "op", text: "_" } }),
  underbrace: (reader) => ({ kind: "under", base: reader.argument(), mark: { kind: "op", text: "⏟" } }),
  pmod: congruence,
  bmod: () => modulo,
  phantom: (reader) => (reader.argument(), { kind: "space", width: 1 }),
};
