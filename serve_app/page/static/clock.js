// Gives the events of a recording their times: files hold what happened in order, and when only in the rollout's spans.
//
// It knows events and spans. Text is spread evenly over its call; where there are no spans (a rollout that was broken
// off), text paces the replay.

const CHARACTERS_PER_S = 400;

/** For each event the second at which it is shown; never earlier than the event before it. */
export function timesOf(events) {
  const spans = events.at(-1)?.rollout?.timeline ?? [];
  return spans.length ? fromSpans(events, spans) : fromText(events);
}

/** When the replay of events at these times is over. */
export function durationOf(events, times) {
  const wall = Number(events.at(-1)?.rollout?.usage?.wall_s) || 0;
  return Math.max(times.at(-1) ?? 0, wall);
}

function fromText(events) {
  let characters = 0;
  return events.map((event) => {
    if (event.kind === "delta") characters += event.text.length;
    return characters / CHARACTERS_PER_S;
  });
}

function fromSpans(events, spans) {
  const calls = callsOf(spans);
  const lengths = new Map();
  for (const event of events) {
    if (event.kind === "delta") lengths.set(placeOf(event), (lengths.get(placeOf(event)) ?? 0) + event.text.length);
  }
  const shown = new Map();
  let latest = 0;
  return events.map((event) => {
    latest = Math.max(latest, timeOf(event, calls, lengths, shown) ?? latest);
    return latest;
  });
}

/** One call per place: from its first attempt's start to its last attempt's end. */
function callsOf(spans) {
  const calls = new Map();
  for (const span of spans) {
    const place = span.kind === "sequential" ? "breath" : `${span.round}.${span.number}`;
    const known = calls.get(place);
    const first = span.first_token_s ?? span.start_s;
    calls.set(place, {
      start: Math.min(known?.start ?? Infinity, span.start_s),
      first: Math.min(known?.first ?? Infinity, first),
      end: Math.max(known?.end ?? 0, span.end_s),
    });
  }
  return calls;
}

function placeOf(event) {
  return event.part === "sequential" ? "breath" : `${event.round}.${event.number ?? 0}`;
}

function timeOf(event, calls, lengths, shown) {
  const place = placeOf(event);
  const call = calls.get(place);
  if (event.kind === "finished") return Number(event.rollout.usage.wall_s) || null;
  if (!call) return null;
  if (event.kind === "round_started" || event.kind === "execution_started") return call.start;
  if (event.kind === "plan_ended" || event.kind === "execution_finished") return call.end;
  if (event.kind !== "delta") return null;
  const before = shown.get(place) ?? 0;
  shown.set(place, before + event.text.length);
  return call.first + ((call.end - call.first) * before) / Math.max(1, lengths.get(place));
}
