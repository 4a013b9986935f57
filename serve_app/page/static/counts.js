// The counters of a rollout: the engine's own once it has finished, what can be said of it before then.
//
// Pure. It knows the usage of sprint/usage.py and the state of rollout.js.

import { running } from "./rollout.js";

const WHOLE = new Intl.NumberFormat("en");

/** Labelled values, in the order they are shown. `about` marks what is only an estimate yet. */
export function countsOf(state) {
  const usage = state.finished?.usage;
  const { sequential, generated } = usage ? measured(usage) : estimated(state);
  const wall = usage?.wall_s ?? state.at;
  const about = !usage && generated > 0;
  const rounds = state.rounds.filter((round) => round && round.joined !== null).length;
  const count = (value) => (value ? `${about ? "≈ " : ""}${WHOLE.format(value)}` : "–");
  return [
    ["Sequential", count(sequential), "tokens on the critical path, executors starting mid-plan"],
    ["Generated", count(generated), "tokens sampled in all calls"],
    [
      "Ratio",
      generated && sequential ? `${about ? "≈ " : ""}${(sequential / generated).toFixed(2)}` : "–",
      "sequential to generated tokens: lower is more parallel",
    ],
    [
      "Wall",
      state.rounds.length || state.thought || usage ? seconds(wall) : "–",
      "seconds since the question was asked",
    ],
    ["First token", firstTokenOf(state), "seconds until the first token"],
    ["Rounds", String(usage?.num_rounds ?? rounds), "plans whose executions were joined"],
    ["Width", widthOf(state), "most executions in one round, and how many run now"],
    ["Cached", cachedOf(usage), "share of the prompt tokens that the prefix cache served"],
  ];
}

export function seconds(value) {
  return value < 60
    ? `${value.toFixed(1)} s`
    : `${Math.floor(value / 60)}:${String(Math.floor(value % 60)).padStart(2, "0")} min`;
}

function firstTokenOf(state) {
  const first =
    state.finished?.usage?.time_to_first_token_s ?? state.rounds[0]?.plan.firstToken ?? state.thought?.firstToken;
  return first === null || first === undefined ? "–" : `${first.toFixed(2)} s`;
}

function measured(usage) {
  return { sequential: usage.pipelined_tokens, generated: usage.generated_tokens };
}

/** From the calls that are over: where a prompt closed is known in characters, so its tokens are estimated. */
function estimated(state) {
  let sequential = 0;
  let generated = 0;
  for (const round of state.rounds.filter(Boolean)) {
    const plan = round.plan.tokens ?? 0;
    const runs = round.runs.filter((run) => run && run.tokens !== null);
    const paths = runs.map((run) => plan * closedAt(round.plan.text, run) + run.tokens);
    sequential += Math.max(plan, ...paths);
    generated += plan + runs.reduce((sum, run) => sum + run.tokens, 0);
  }
  return { sequential: Math.round(sequential), generated };
}

/** The share of a plan that was written when a prompt of it closed. */
function closedAt(plan, run) {
  const at = plan.indexOf(`</prompt_${run.round}.${run.number}>`);
  return at < 0 ? 1 : at / Math.max(1, plan.length);
}

function widthOf(state) {
  const now = state.finished ? 0 : running(state).length;
  return now ? `${state.widest} · ${now} now` : String(state.widest);
}

function cachedOf(usage) {
  if (!usage) return "–";
  if (usage.cached_prompt_tokens === null || !usage.prompt_tokens) return "not told";
  return `${Math.round((100 * usage.cached_prompt_tokens) / usage.prompt_tokens)} %`;
}
