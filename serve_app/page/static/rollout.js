// A rollout as far as its events tell: `take` folds one event, with the second it came at, into the state.
//
// It knows the events of sprint/events.py (the last one with the whole rollout, as recordings hold it). It knows no
// page, no network and no clock. Kinds that it does not know change nothing, so newer servers can say more.

/** Outcomes after which what was sampled is not what the planner reads. */
const MARKED = new Set(["failed", "timed_out", "skipped", "no_room", "left_out", "cancelled"]);

export function newRollout(question = "") {
  return {
    question,
    rounds: [], // by number, from 1; index 0 is number 1
    thought: null, // a model that reasons in one breath
    phase: "waiting", // waiting, planning, executing, answering, thinking, finished, stopped, failed
    round: 0,
    at: 0,
    widest: 0,
    restarts: 0,
    finished: null, // the rollout of the last event
  };
}

/** Folds `event`, which came `at` seconds after the beginning, into `state`. */
export function take(state, event, at) {
  state.at = Math.max(state.at, at);
  const taker = TAKERS[event.kind];
  if (taker) taker(state, event, at);
  return state;
}

/** What is over before its end: `phase` is stopped or failed. */
export function breakOff(state, phase, at) {
  state.at = Math.max(state.at, at);
  state.phase = phase;
  closeAll(state, "cancelled");
}

/** All blocks of text: plans, executions, what was written in one breath. */
export function blocks(state) {
  const found = state.rounds.filter(Boolean).flatMap((round) => [round.plan, ...round.runs.filter(Boolean)]);
  return state.thought ? [...found, state.thought] : found;
}

export function running(state) {
  return blocks(state).filter((block) => block.part === "execution" && block.outcome === "");
}

const TAKERS = {
  round_started: (state, event, at) => {
    const round = roundOf(state, event.round, at);
    round.plan.start = Math.min(round.plan.start, at);
    move(state, "planning", event.round);
  },
  delta: takeText,
  execution_started: (state, event, at) => {
    const run = newBlock("execution", event.round, event.number, at);
    run.instruction = event.instruction;
    roundOf(state, event.round, at).runs[event.number - 1] = run;
    state.widest = Math.max(state.widest, runsOf(state, event.round).length);
  },
  execution_finished: (state, event, at) => {
    const run = runOf(state, event.round, event.number, at);
    close(run, event.outcome, at);
    run.tokens = event.generated_tokens;
  },
  plan_ended: takePlanEnd,
  round_joined: takeJoin,
  discarded: takeDiscard,
  finished: takeFinish,
};

function takeText(state, event, at) {
  if (event.part === "execution") {
    const run = runOf(state, event.round, event.number, at);
    run.text += event.text;
    run.firstToken ??= at;
    return;
  }
  if (event.part === "sequential") {
    state.thought ??= newBlock("sequential", 0, 0, at);
    addTo(state.thought, event, at);
    move(state, "thinking", state.round);
    return;
  }
  const plan = roundOf(state, event.round, at).plan;
  if (event.part === "final" && plan.part !== "final") {
    plan.part = "final";
    move(state, "answering", event.round);
  }
  addTo(plan, event, at);
}

function addTo(block, event, at) {
  block.text += event.text;
  block.firstToken ??= at;
}

function takePlanEnd(state, event, at) {
  const round = roundOf(state, event.round, at);
  close(round.plan, event.outcome, at);
  round.plan.tokens = event.generated_tokens;
  round.plan.text = event.text;
  if (event.outcome === "final" || round.plan.part === "final") {
    round.plan.part = "final";
    round.runs.forEach((run) => close(run, "cancelled", at)); // nobody will read what had been asked for
  } else if (runsOf(state, event.round).some((run) => run.outcome === "")) {
    move(state, "executing", event.round);
  }
}

function takeJoin(state, event, at) {
  const round = roundOf(state, event.round, at);
  round.joined = at;
  const bodies = executionBodies(event.text);
  for (const run of round.runs.filter(Boolean)) {
    const body = bodies.get(`${run.round}.${run.number}`);
    if (body !== undefined && !MARKED.has(run.outcome)) run.text = body; // attempts that were thrown away go
  }
}

function takeDiscard(state, event) {
  state.restarts += 1;
  if (event.round === 0) {
    state.rounds = [];
    state.thought = null;
  } else {
    delete state.rounds[event.round - 1];
  }
}

function takeFinish(state, event, at) {
  state.finished = event.rollout;
  state.question ||= event.rollout.question;
  state.phase = event.rollout.stop_reason === "failed" ? "failed" : "finished";
  closeAll(state, "cancelled", at);
}

/** The text of each execution in a joined block, by "round.number". */
export function executionBodies(text) {
  const found = new Map();
  for (const match of text.matchAll(/<execution_(\d+\.\d+)>\n([^]*?)\n?<\/execution_\1>/g))
    found.set(match[1], match[2]);
  return found;
}

function closeAll(state, outcome, at = state.at) {
  for (const block of blocks(state)) {
    close(block, block.part === "sequential" && state.phase === "finished" ? "final" : outcome, at);
  }
}

function close(block, outcome, at) {
  if (block.outcome !== "") return;
  block.outcome = outcome;
  block.end = at;
}

function move(state, phase, round) {
  state.phase = phase;
  state.round = round;
}

function newBlock(part, round, number, at) {
  return {
    key: part === "sequential" ? "breath" : `${round}.${number}`,
    part,
    round,
    number,
    text: "",
    instruction: "",
    outcome: "", // "" while it runs
    tokens: null,
    start: at,
    firstToken: null,
    end: null,
  };
}

function roundOf(state, number, at) {
  state.rounds[number - 1] ??= { number, plan: newBlock("plan", number, 0, at), runs: [], joined: null };
  return state.rounds[number - 1];
}

function runsOf(state, number) {
  return (state.rounds[number - 1]?.runs ?? []).filter(Boolean);
}

function runOf(state, round, number, at) {
  const { runs } = roundOf(state, round, at);
  runs[number - 1] ??= newBlock("execution", round, number, at);
  return runs[number - 1];
}
