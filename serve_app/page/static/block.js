// One block of text on the page: a plan, an execution, a thought. A header that folds it, and its body.
//
// It knows how a block looks and what of it has been drawn; not where it stands. While a block runs only the end of its
// text is in the document, so a long text costs no more per frame than a short one.

import { element, say } from "./dom.js";
import { prose } from "./math.js";

const SHOWN_CHARACTERS = 3000; // of a running text
const MOST_SET = 60000; // longer texts are shown as they are written
const TAG = /<prompt_(\d+\.\d+)>([^]*?)(?:<\/prompt_\1>|$)|<\/?(?:Plan_\d+|Final_answer|think)>/g;
const CLOSING = /<\/execution_\d+\.\d+>\s*$|<\/?[a-z]*(?:_[\d.]*)?$/;
export const WORDS = {
  "": "running",
  completed: "completed",
  closed: "planned",
  final: "answered",
  ended: "ended by itself",
  truncated: "cut at its limit",
  failed: "failed",
  timed_out: "timed out",
  cancelled: "cancelled",
  skipped: "skipped",
  no_room: "no room",
  runaway: "ran in circles",
  left_out: "left out",
};
const GLYPHS = {
  "": "●",
  completed: "✓",
  closed: "✓",
  final: "✓",
  ended: "✓",
  failed: "✕",
  timed_out: "✕",
  no_room: "✕",
};

export class BlockView {
  constructor(block) {
    this.drawn = ""; // what the document shows, as a string that changes when it must be drawn again
    this.title = element("span", { class: "title" });
    this.status = element("span", { class: "status" });
    this.head = element("button", { type: "button", class: "head", "aria-expanded": "false" }, this.title, this.status);
    this.text = element("div", { class: "text" });
    this.body = element("div", { class: "body", id: `block-${block.key}` }, this.text);
    this.head.setAttribute("aria-controls", this.body.id);
    this.node = element("article", { class: "block" }, this.head, this.body);
    this.head.addEventListener("click", () => this.unfold(this.head.getAttribute("aria-expanded") !== "true"));
  }

  unfold(open) {
    this.head.setAttribute("aria-expanded", String(open));
    this.node.classList.toggle("unfolded", open);
    this.drawn = "";
    this.redraw?.();
  }

  drawTitle(title) {
    this.title.dataset.of = title;
    this.title.replaceChildren(...prose(title));
  }

  /** Brings the document up to `block`; does nothing where nothing is new. */
  draw(block, critical) {
    this.redraw = () => this.draw(block, critical);
    this.node.classList.toggle("critical", critical);
    const open = this.head.getAttribute("aria-expanded") === "true";
    const wanted = `${block.part}|${block.outcome}|${block.text.length}|${open}|${block.tokens}|${block.instruction}`;
    if (wanted === this.drawn) return;
    this.drawn = wanted;
    this.node.dataset.part = block.part;
    this.node.dataset.outcome = block.outcome || "running";
    if (this.title.dataset.of !== titleOf(block)) this.drawTitle(titleOf(block));
    say(this.status, statusOf(block));
    this.text.replaceChildren(...contentOf(block, open));
  }
}

function titleOf(block) {
  if (block.part === "sequential") return "In one breath";
  if (block.part === "final") return "Final answer";
  return block.part === "plan" ? "Plan" : `${block.round}.${block.number}  ${block.instruction}`;
}

function statusOf(block) {
  const tokens = block.tokens ? ` · ${block.tokens.toLocaleString("en")}` : "";
  const glyph = GLYPHS[block.outcome] ?? "◦";
  return `${glyph} ${block.part === "plan" && !block.outcome ? "writing" : (WORDS[block.outcome] ?? block.outcome)}${tokens}`;
}

function contentOf(block, open) {
  const runs = block.outcome === "";
  const text =
    runs && !open && block.text.length > SHOWN_CHARACTERS ? `…${block.text.slice(-SHOWN_CHARACTERS)}` : block.text;
  const set = runs || text.length > MOST_SET ? (part) => [part] : prose;
  return block.part === "execution" ? set(text.replace(CLOSING, "").trim()) : planned(text.trim(), set);
}

/** A plan with its prompts set off, and without the tags that frame it. */
function planned(text, set) {
  const nodes = [];
  let done = 0;
  for (const found of text.matchAll(TAG)) {
    nodes.push(...set(text.slice(done, found.index).replace(/^\n+|\n+$/g, "")));
    if (found[1])
      nodes.push(element("span", { class: "prompt" }, element("b", {}, found[1]), " ", ...set(found[2].trim())));
    done = found.index + found[0].length;
  }
  return [...nodes, ...set(text.slice(done).replace(/^\n+/, ""))];
}
