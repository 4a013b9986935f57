// The tree: rounds from left to right, in each the plan and, beside it, its executions in lanes.
//
// It knows the state of rollout.js and the blocks on the page. Drawing is a comparison: what is as it was is not touched.

import { BlockView } from "./block.js";
import { element, say } from "./dom.js";

const NEAR_END = 120; // pixels

export class Tree {
  constructor(node) {
    this.node = node;
    this.follows = true; // the newest round is kept in view until someone scrolls away from it
    node.addEventListener("scroll", () => {
      this.follows = node.scrollLeft + node.clientWidth > node.scrollWidth - NEAR_END;
    });
    this.columns = new Map(); // by round, or "breath"
    this.views = new Map(); // by block key
  }

  /** Brings the document up to the state; `critical` holds the keys of the blocks on the critical path. */
  draw(state, critical) {
    const columns = columnsOf(state);
    const before = this.views.size;
    this.drop(columns);
    for (const column of columns) {
      this.ensure(column);
      this.drawColumn(column, critical);
    }
    if (this.follows && this.views.size !== before) this.node.scrollLeft = this.node.scrollWidth;
  }

  clear() {
    this.node.replaceChildren();
    this.columns.clear();
    this.views.clear();
    this.follows = true;
  }

  /** Shows a block that was asked for elsewhere: unfolded, in view and focused. */
  reveal(key) {
    const view = this.views.get(key);
    if (!view) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    view.node.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "nearest", inline: "center" });
    view.head.focus({ preventScroll: true });
  }

  /** Takes away what the state no longer holds: a plan was thrown away, or the replay went back. */
  drop(columns) {
    const rounds = new Set(columns.map((column) => column.key));
    const blocks = new Set(columns.flatMap((column) => [column.plan, ...column.runs]).map((block) => block.key));
    for (const [key, view] of this.views) {
      if (!blocks.has(key)) {
        view.node.remove();
        this.views.delete(key);
      }
    }
    for (const [key, column] of this.columns) {
      if (!rounds.has(key)) {
        column.node.remove();
        this.columns.delete(key);
      }
    }
  }

  ensure(column) {
    if (this.columns.has(column.key)) return;
    const title = element("h3", {}, "");
    const lanes = element("div", { class: "lanes", role: "group", "aria-label": `Executions of ${column.title}` });
    const pair = element("div", { class: "pair" });
    const node = element("section", { class: "round", "aria-label": column.title }, title, pair);
    this.columns.set(column.key, { node, title, pair, lanes });
    this.node.append(node);
  }

  drawColumn(column, critical) {
    const shown = this.columns.get(column.key);
    say(shown.title, column.title + (column.note ? ` · ${column.note}` : ""));
    this.drawBlock(column.plan, shown.pair, critical);
    for (const run of column.runs) this.drawBlock(run, shown.lanes, critical);
    if (column.runs.length && !shown.lanes.isConnected) shown.pair.append(shown.lanes);
    if (!column.runs.length) shown.lanes.remove();
    shown.node.classList.toggle("joined", column.joined);
  }

  drawBlock(block, parent, critical) {
    let view = this.views.get(block.key);
    if (!view) {
      view = new BlockView(block);
      this.views.set(block.key, view);
      parent.append(view.node);
    }
    view.draw(block, critical.has(block.key));
  }
}

function columnsOf(state) {
  const columns = state.rounds.filter(Boolean).map((round) => {
    const runs = round.runs.filter(Boolean);
    const isFinal = round.plan.part === "final";
    const note = runs.length > 1 && !isFinal ? `${runs.length} side by side` : "";
    const title = isFinal ? "Answer" : `Round ${round.number}`;
    return { key: String(round.number), title, note, plan: round.plan, runs, joined: round.joined !== null };
  });
  if (!state.thought) return columns;
  return [...columns, { key: "breath", title: "Thought", note: "", plan: state.thought, runs: [], joined: false }];
}
