// Draws what is shown, live or replayed: tree, timeline, counters, answer, status line and the replay's controls.
//
// It knows the state of rollout.js and the elements; it changes neither the state nor what runs.

import { countsOf, seconds } from "./counts.js";
import { byId, element, say } from "./dom.js";
import { prose } from "./math.js";
import { barsOf, criticalKeys } from "./path.js";
import { blocks, running } from "./rollout.js";
import { Timeline } from "./timeline.js";
import { Tree } from "./tree.js";

const STOPS = {
  answered: "Answered",
  ended: "The model stopped without closing its answer,",
  token_limit: "Stopped at the token limit",
  runaway: "Stopped: it said the same over and over,",
  context_full: "Stopped: the context window is full,",
  time_limit: "Stopped at the time limit",
  failed: "The engine failed",
};

export class View {
  /** `resized` is called when the window is another, so that it must be drawn again. */
  constructor(resized) {
    this.tree = new Tree(byId("tree"));
    this.timeline = new Timeline(byId("timeline"), (key) => this.tree.reveal(key), resized);
    this.answered = "";
    this.counted = "";
  }

  clear() {
    this.tree.clear();
    byId("tree").scrollLeft = 0;
  }

  /** `live` or `player` is what is shown; both null: nothing yet. */
  draw(live, player) {
    const state = live?.state ?? player?.state ?? null;
    drawControls(live, player);
    byId("tree").classList.toggle("empty", !state || !blocks(state).length);
    if (!state) return;
    const bars = barsOf(state, blocks(state));
    this.tree.draw(state, criticalKeys(bars));
    const atEnd = !player || player.time >= player.duration;
    this.timeline.draw(
      bars,
      player?.duration ?? Math.max(state.at, state.finished?.usage?.wall_s ?? 0),
      atEnd ? null : player.time,
    );
    this.drawCounts(state);
    this.drawAnswer(state);
    byId("asked").hidden = !player || state.question === byId("question").value.trim();
    say(byId("asked"), state.question);
    say(byId("status"), statusOf(state, player));
    byId("status").dataset.phase = state.phase;
  }

  drawCounts(state) {
    const counts = countsOf(state);
    const wanted = JSON.stringify(counts);
    if (wanted === this.counted) return;
    this.counted = wanted;
    const rows = counts.map(([name, value, about]) => {
      return element("div", { title: about }, element("dt", {}, name), element("dd", {}, value));
    });
    byId("counts").replaceChildren(...rows);
  }

  /** The answer as it is written, and set once it is whole. */
  drawAnswer(state) {
    const last = state.rounds.findLast((round) => round?.plan.part === "final")?.plan;
    const growing = last ? last.text.replace(/<\/?Final_answer>?|<\/?[A-Za-z_]*$/g, "").trim() : "";
    const text = state.finished ? state.finished.answer_text.trim() : growing;
    const wanted = `${Boolean(state.finished)}|${text}`;
    if (wanted === this.answered) return;
    this.answered = wanted;
    byId("answer-section").hidden = !text;
    byId("answer").replaceChildren(...(state.finished ? prose(text) : [text]));
  }
}

/** One sentence; it changes when something begins or ends, not with every token. */
function statusOf(state, player) {
  const replayed = player ? `Replay${player.name ? ` of ${player.name}` : ""}: ` : "";
  const words = phaseOf(state);
  return replayed ? replayed + words.charAt(0).toLowerCase() + words.slice(1) : words;
}

function phaseOf(state) {
  const wall = seconds(state.finished?.usage?.wall_s ?? state.at);
  if (state.phase === "finished")
    return `${STOPS[state.finished.stop_reason] ?? state.finished.stop_reason} after ${wall}.`;
  if (state.phase === "stopped") return `Stopped by you after ${wall}; what had been written is kept.`;
  if (state.phase === "failed") return `Broken off after ${wall}.`;
  const runs = running(state).length;
  const beside = runs ? `, ${runs} ${runs === 1 ? "execution runs" : "executions run"}` : "";
  if (state.phase === "planning") return `Round ${state.round}: planning${beside}.`;
  if (state.phase === "executing") return `Round ${state.round}: plan written${beside}.`;
  if (state.phase === "answering") return "Writing the answer.";
  return state.phase === "thinking" ? "Thinking in one breath." : "Waiting for the first token.";
}

function drawControls(live, player) {
  const ready = Boolean(player) || Boolean(live?.settled && live.events.length);
  for (const id of ["play", "scrub", "speed"]) byId(id).disabled = !ready;
  byId("save").disabled = !(player || live?.events.length);
  say(
    byId("play"),
    player?.playing ? "Pause" : player && player.time > 0 && player.time < player.duration ? "Play" : "Replay",
  );
  const duration = player?.duration ?? live?.state.at ?? 0;
  const time = player?.time ?? duration;
  const scrub = byId("scrub");
  const value = duration ? Math.round((1000 * time) / duration) : 0;
  if (scrub.valueAsNumber !== value) scrub.value = value;
  scrub.setAttribute("aria-valuetext", `${time.toFixed(1)} of ${duration.toFixed(1)} seconds`);
  say(byId("clock"), player || live ? `${seconds(time)} / ${seconds(duration)}` : "–");
}
