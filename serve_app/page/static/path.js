// The critical path of a rollout, and its calls as bars. Pure: spans or blocks in, bars out.
//
// Per round it is the plan, then the execution that ended last (if the planner had to wait for it), then the next plan.

/** Bars of a rollout so far: from its spans once it has finished, else from the times its events came at. */
export function barsOf(state, blocks) {
  const spans = state.finished?.timeline ?? [];
  const bars = spans.length ? spans.map(barOfSpan) : blocks.map((block) => barOfBlock(block, state.at));
  markCritical(bars);
  return bars;
}

function barOfSpan(span) {
  const isRun = span.kind === "execution";
  return {
    key: span.kind === "sequential" ? "breath" : `${span.round}.${span.number}`,
    kind: span.kind,
    round: span.round,
    row: isRun ? span.number : 0,
    start: span.start_s,
    first: span.first_token_s ?? span.end_s,
    end: Math.max(span.end_s, span.start_s),
    outcome: span.outcome ?? "",
    tokens: span.generated_tokens,
    critical: false,
  };
}

function barOfBlock(block, now) {
  const end = block.end ?? now;
  return {
    key: block.key,
    kind: block.part,
    round: block.round,
    row: block.part === "execution" ? block.number : 0,
    start: block.start,
    first: Math.min(block.firstToken ?? end, end),
    end: Math.max(end, block.start),
    outcome: block.outcome,
    tokens: block.tokens,
    critical: false,
  };
}

/** Marks the bars that everything waited for. */
export function markCritical(bars) {
  for (const bar of bars) bar.critical = bar.row === 0;
  for (const round of new Set(bars.map((bar) => bar.round))) {
    const planned = Math.max(0, ...bars.filter((bar) => bar.round === round && bar.row === 0).map((bar) => bar.end));
    const last = lastOf(bars.filter((bar) => bar.round === round && bar.row > 0 && bar.outcome !== "cancelled"));
    if (last && last.end > planned) last.critical = true;
  }
}

function lastOf(bars) {
  return bars.reduce((last, bar) => (!last || bar.end > last.end ? bar : last), null);
}

/** Keys of the blocks on the path. */
export function criticalKeys(bars) {
  return new Set(bars.filter((bar) => bar.critical).map((bar) => bar.key));
}
