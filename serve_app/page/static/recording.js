// Stored rollouts: one event a line, as sprint/recording.py writes and reads them.
//
// It knows the fields of each kind of event and how the whole rollout is put together from what a stream told. It knows
// no page and no clock. What is no recording is refused with one sentence for a person.

import { executionBodies } from "./rollout.js";

export class NoRecording extends Error {}

const MOST_ROUNDS = 1000;
const MOST_NUMBER = 10000;
const ROLLOUT = { question: "string", text: "string", answer_text: "string", usage: "object", stop_reason: "string" };
const FIELDS = {
  delta: { part: "string", round: "count", number: "count", text: "string" },
  round_started: { round: "count" },
  plan_ended: { round: "count", outcome: "string", num_prompts: "count", generated_tokens: "count", text: "string" },
  discarded: { round: "count" },
  execution_started: { round: "count", number: "count", instruction: "string" },
  execution_finished: { round: "count", number: "count", outcome: "string", generated_tokens: "count" },
  round_joined: { round: "count", num_executions: "count", text: "string" },
  finished: { rollout: "object" },
};

/** The events as a file. */
export function toLines(events) {
  return events.map((event) => `${JSON.stringify(event)}\n`).join("");
}

/** The events of a file's text. Throws NoRecording naming the first line that is none. */
export function fromLines(text, name = "the file") {
  const events = [];
  text.split("\n").forEach((line, index) => {
    if (line.trim() && events.at(-1)?.kind !== "finished") events.push(readLine(line, `line ${index + 1} of ${name}`));
  });
  if (!events.length) throw new NoRecording(`${name} is empty, expected the events of a rollout, one a line`);
  return events;
}

function readLine(line, where) {
  let event;
  try {
    event = JSON.parse(line);
  } catch {
    throw new NoRecording(`${where} is not JSON, expected an event of a rollout`);
  }
  const wrong = faultOf(event);
  if (wrong) throw new NoRecording(`${where} is no event of a rollout: ${wrong}`);
  return event;
}

/** An event without what a newer server or another format may have added to it. */
export function stripped(event) {
  const names = ["kind", ...Object.keys(FIELDS[event.kind])];
  return Object.fromEntries(names.map((name) => [name, event[name]]));
}

/** What is wrong with an event, "" for nothing. */
export function faultOf(event) {
  if (typeof event?.kind !== "string") return "it has no kind";
  const fields = FIELDS[event.kind];
  if (!Object.hasOwn(FIELDS, event.kind)) return `its kind is ${event.kind.slice(0, 40)}`;
  const values = fields.rollout ? { ...event.rollout, rollout: event.rollout } : event;
  for (const [name, type] of Object.entries(fields.rollout ? { ...fields, ...ROLLOUT } : fields)) {
    if (!isOf(type, values[name])) return `${event.kind}.${name} is missing or of the wrong type`;
  }
  return faultOfPlace(event);
}

function isOf(type, value) {
  if (type === "count") return Number.isInteger(value) && value >= 0;
  return typeof value === type && value !== null;
}

function faultOfPlace(event) {
  if (event.kind === "finished")
    return spansAreSound(event.rollout.timeline ?? []) ? "" : "its timeline cannot be read";
  const inOneBreath = event.kind === "discarded" || event.part === "sequential";
  if (event.round > MOST_ROUNDS || (event.round < 1 && !inOneBreath)) return `its round is ${event.round}`;
  const isExecution = event.kind.startsWith("execution") || event.part === "execution";
  if (isExecution && (event.number < 1 || event.number > MOST_NUMBER)) return `its number is ${event.number}`;
  return "";
}

function spansAreSound(spans) {
  return (
    Array.isArray(spans) &&
    spans.every((span) => typeof span?.kind === "string" && isFinite(span.start_s) && isFinite(span.end_s))
  );
}

// --- the last event, put together -------------------------------------------------------------------------------------

/** The `finished` event of a recording from what a stream told: its events, its answer, its totals. */
export function finishedEvent(question, events, told, answer, totals) {
  const rollout = {
    question,
    text: textOf(events, told.stop_reason),
    answer_text: answer,
    trajectory: inOneBreath(events) ? null : trajectoryOf(events),
    usage: told.usage,
    stop_reason: told.stop_reason,
    prompt_ids: [], // a stream does not tell them
    token_ids: [],
    timeline: totals?.timeline ?? [],
    detail: totals?.detail ?? "",
  };
  return { kind: "finished", rollout };
}

function inOneBreath(events) {
  return sinceRestart(events).some((event) => event.part === "sequential");
}

function sinceRestart(events) {
  return events.slice(events.findLastIndex((event) => event.kind === "discarded" && event.round === 0) + 1);
}

/** What the model and the runtime wrote, as `sprint.recording.text_of` puts it together. */
function textOf(events, stopReason) {
  const parts = sinceRestart(events)
    .filter((event) => ["plan_ended", "round_joined"].includes(event.kind) || event.part === "sequential")
    .map((event) => event.text);
  const closes = stopReason === "answered" && !inOneBreath(events);
  return `<think>\n${parts.join("")}${closes ? "\n</think>" : ""}`;
}

function trajectoryOf(events) {
  const kept = sinceRestart(events);
  const joined = new Map(kept.filter((event) => event.kind === "round_joined").map((event) => [event.round, event]));
  const plans = kept.filter((event) => event.kind === "plan_ended");
  const rounds = plans
    .filter((plan) => joined.has(plan.round))
    .map((plan) => roundOf(plan, joined.get(plan.round), kept));
  const last = plans.at(-1);
  const isFinal = last !== undefined && !joined.has(last.round);
  return { rounds, final_answer: isFinal ? bodyOf(last.text, /<Final_answer>/, /<\/Final_answer>\s*$/) : "" };
}

function roundOf(plan, joined, events) {
  const outcomes = new Map();
  for (const event of events) {
    if (event.kind === "execution_finished" && event.round === plan.round) outcomes.set(event.number, event.outcome);
  }
  const executions = [...executionBodies(joined.text)].map(([key, text]) => {
    return { text, outcome: outcomes.get(Number(key.split(".")[1])) ?? "completed" };
  });
  return { plan: bodyOf(plan.text, /<Plan_\d+>/, /<\/Plan_\d+>\s*$/), executions };
}

/** The inside of a block, less the newline that frames it at either end. */
function bodyOf(text, opening, closing) {
  const opened = opening.exec(text);
  const inside = (opened ? text.slice(opened.index + opened[0].length) : text).replace(closing, "").replace(/\n$/, "");
  return opened ? inside.replace(/^\n/, "") : inside;
}
