// TeX's mathematics, the subset that answers are written in, as a tree of plain objects. Pure: no document.
//
// `parse` throws TexUnknown for anything it does not know: whoever shows the result then shows the source instead.
// Nodes: {kind, ...} with kinds row, id, num, op, text, space, frac, root, scripts, fence, table, boxed, over, under.

import { COMMANDS } from "./commands.js";
import * as names from "./symbols.js";

export class TexUnknown extends Error {}

const MOST_CHARACTERS = 4000;
const DEEPEST = 40;

export function parse(source) {
  if (source.length > MOST_CHARACTERS) throw new TexUnknown("too long");
  const reader = new Reader(tokensOf(source));
  const row = reader.row(() => false);
  if (reader.head !== undefined) throw new TexUnknown(reader.head.text);
  return row;
}

function tokensOf(source) {
  const pattern = /\\(operatorname\*|[a-zA-Z]+|[^])|(\d+(?:[.,]\d+)*|\.\d+)|(\s+)|%[^\n]*\n?|([^])/g;
  const tokens = [];
  for (const [all, command, number, blank, other] of source.matchAll(pattern)) {
    if (command !== undefined) tokens.push({ kind: "command", text: command, source: all });
    else if (number !== undefined) tokens.push({ kind: "number", text: number, source: all });
    else if (blank !== undefined) tokens.push({ kind: "blank", text: " ", source: " " });
    else if (other !== undefined) tokens.push({ kind: "char", text: other, source: all });
  }
  return tokens;
}

class Reader {
  constructor(tokens) {
    this.tokens = tokens;
    this.at = 0;
    this.depth = 0;
  }

  get head() {
    while (this.tokens[this.at]?.kind === "blank") this.at += 1;
    return this.tokens[this.at];
  }

  next() {
    const token = this.head;
    if (token === undefined) throw new TexUnknown("the end");
    this.at += 1;
    return token;
  }

  is(kind, text) {
    return this.head?.kind === kind && this.head.text === text;
  }

  expect(kind, text) {
    if (!this.is(kind, text)) throw new TexUnknown(`no ${text}`);
    this.at += 1;
  }

  /** Items up to where `ends` says so. */
  row(ends) {
    this.depth += 1;
    if (this.depth > DEEPEST) throw new TexUnknown("too deep");
    const items = [];
    while (this.head !== undefined && !ends(this.head)) {
      if (this.is("char", "}") || this.is("char", "&")) throw new TexUnknown(this.head.text);
      const item = this.scripts(this.atom());
      if (item !== null) items.push(item);
    }
    this.depth -= 1;
    return { kind: "row", items };
  }

  group() {
    this.expect("char", "{");
    const row = this.row((token) => token.kind === "char" && token.text === "}");
    this.expect("char", "}");
    return row;
  }

  /** What a command takes: a group, or one atom (of a number, its first digit). */
  argument() {
    if (this.is("char", "{")) return this.group();
    const token = this.head;
    if (token?.kind === "number" && token.text.length > 1) {
      this.tokens[this.at] = { ...token, text: token.text.slice(1) };
      return { kind: "num", text: token.text[0] };
    }
    this.depth += 1; // \sqrt\sqrt\sqrt…
    if (this.depth > DEEPEST) throw new TexUnknown("too deep");
    const item = this.atom() ?? { kind: "row", items: [] };
    this.depth -= 1;
    return item;
  }

  scripts(base) {
    let sub = null;
    let sup = null;
    while (true) {
      if (this.is("char", "_") && sub === null) {
        this.at += 1;
        sub = this.argument();
      } else if (this.is("char", "^") && sup === null) {
        this.at += 1;
        sup = this.argument();
      } else if (this.is("char", "'") && sup === null) {
        sup = { kind: "op", text: this.primes() };
      } else if (this.head?.kind === "command" && names.NOTHING.has(this.head.text) && names.LIMITS.has(base?.text)) {
        this.at += 1; // \limits
      } else {
        break;
      }
    }
    if (sub === null && sup === null) return base;
    return {
      kind: "scripts",
      base: base ?? { kind: "row", items: [] },
      sub,
      sup,
      limits: names.LIMITS.has(base?.text),
    };
  }

  primes() {
    let marks = "";
    while (this.is("char", "'")) {
      this.at += 1;
      marks += "′";
    }
    return marks;
  }

  atom() {
    if (this.is("char", "{")) return this.group();
    if (this.is("char", "_") || this.is("char", "^")) return null; // scripts of nothing
    const token = this.next();
    if (token.kind === "number") return { kind: "num", text: token.text };
    return token.kind === "command" ? this.command(token.text) : character(token.text);
  }

  command(name) {
    if (Object.hasOwn(COMMANDS, name)) return COMMANDS[name](this, name);
    if (names.TEXTS.has(name)) return { kind: "text", text: this.words() };
    if (Object.hasOwn(names.SPACES, name)) return { kind: "space", width: names.SPACES[name] };
    if (Object.hasOwn(names.SYMBOLS, name)) return { kind: "id", text: names.SYMBOLS[name] };
    if (Object.hasOwn(names.OPERATORS, name)) return { kind: "op", text: names.OPERATORS[name] };
    if (names.FUNCTIONS.has(name)) return { kind: "id", text: name, upright: true };
    if (Object.hasOwn(names.ACCENTS, name))
      return { kind: "over", base: this.argument(), mark: { kind: "op", text: names.ACCENTS[name] } };
    if (Object.hasOwn(names.STYLES, name))
      return { kind: "styled", base: this.argument(), variant: names.STYLES[name] };
    if (names.NOTHING.has(name)) return null;
    if (names.BIG.has(name)) return { kind: "op", text: this.delimiter() };
    throw new TexUnknown(`\\${name}`);
  }

  /** The inside of \text{…}, as it is written. */
  words() {
    this.expect("char", "{");
    let text = "";
    for (let depth = 1; ;) {
      const token = this.tokens[this.at++];
      if (token === undefined) throw new TexUnknown("the end");
      if (token.source === "{") depth += 1;
      if (token.source === "}") depth -= 1;
      if (depth === 0) return text;
      if (token.kind === "command" && !/^[^a-zA-Z]$/.test(token.text)) throw new TexUnknown(token.source);
      if (token.source !== "{" && token.source !== "}" && token.source !== "$") text += token.text;
    }
  }

  delimiter() {
    const token = this.next();
    if (token.kind === "char" && "()[]|/.<>".includes(token.text)) return token.text === "." ? "" : token.text;
    if (token.kind === "command" && Object.hasOwn(names.OPERATORS, token.text)) return names.OPERATORS[token.text];
    throw new TexUnknown(token.source);
  }

  fence() {
    const open = this.delimiter();
    const body = this.row((token) => token.kind === "command" && token.text === "right");
    this.expect("command", "right");
    return { kind: "fence", open, body, close: this.delimiter() };
  }

  environment() {
    const name = this.words();
    if (!Object.hasOwn(names.ENVIRONMENTS, name)) throw new TexUnknown(name);
    const { open, close, align, takesColumns } = names.ENVIRONMENTS[name];
    if (takesColumns) this.words();
    const rows = this.cells();
    this.expect("command", "end");
    if (this.words() !== name) throw new TexUnknown("end");
    return { kind: "table", rows, open, close, align };
  }

  cells() {
    const ends = (token) => token.source === "&" || (token.kind === "command" && ["\\", "end"].includes(token.text));
    const rows = [[]];
    while (true) {
      rows.at(-1).push(this.row(ends));
      if (this.is("char", "&")) this.at += 1;
      else if (this.is("command", "\\")) {
        this.at += 1;
        rows.push([]);
      } else break;
    }
    if (rows.length > 1 && rows.at(-1).length === 1 && !rows.at(-1)[0].items.length) rows.pop(); // a closing \\
    return rows;
  }

  /** \sqrt and its optional index. */
  root() {
    let index = null;
    if (this.is("char", "[")) {
      this.at += 1;
      index = this.row((token) => token.kind === "char" && token.text === "]");
      this.expect("char", "]");
    }
    return { kind: "root", base: this.argument(), index };
  }
}

function character(text) {
  if (/[\p{L}]/u.test(text)) return { kind: "id", text };
  if ("#$\\".includes(text)) throw new TexUnknown(text);
  if (text === "~") return { kind: "space", width: 0.33 };
  return { kind: "op", text: { "-": "−", "*": "∗", "`": "‘" }[text] ?? text };
}
