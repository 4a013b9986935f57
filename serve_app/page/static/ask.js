// Asks the service: models, and one question as a stream of events. Everything that goes wrong is one sentence.
//
// It knows HTTP, server-sent events and the chunks of serve_app/sse.py. It does not know what events mean to a page.

import { faultOf, finishedEvent, stripped } from "./recording.js";

export class AskFailed extends Error {}

/** The ids of the models that are served. */
export async function models(key) {
  const response = await fetched("v1/models", { headers: headers(key) });
  const listed = await response.json();
  return listed.data.map((model) => String(model.id));
}

/**
 * Yields the events of a rollout in lists, as they arrive; the last event is `finished`, with the whole rollout.
 * Throws AskFailed, or the AbortError of `signal`; leaving the loop cancels the rollout on the engine too.
 */
export async function* ask(request, key, signal) {
  const body = JSON.stringify(bodyOf(request));
  const response = await fetched("v1/chat/completions", { method: "POST", headers: headers(key), body, signal });
  const told = new Told(request.question);
  for await (const values of dataOf(response.body, signal)) {
    const events = values.flatMap((value) => told.take(value));
    if (events.length) yield events;
    if (told.failure) throw new AskFailed(told.failure);
    if (told.done) return;
  }
  throw new AskFailed("The stream ended before the answer was complete; what had arrived is kept.");
}

function bodyOf(request) {
  const sprint = { events: true, timeline: true, mode: request.mode };
  if (request.maxRounds !== null) sprint.max_rounds = request.maxRounds;
  const body = { model: request.model, messages: [{ role: "user", content: request.question }], stream: true, sprint };
  if (request.temperature !== null) body.temperature = request.temperature;
  if (request.seed !== null) body.seed = request.seed;
  return body;
}

function headers(key) {
  return { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
}

async function fetched(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new AskFailed("The server cannot be reached: is it running, and is this page still connected to it?");
  }
  if (!response.ok) throw new AskFailed(await refusalOf(response));
  return response;
}

/** The server's own sentence about a refusal, with what to do about it. */
async function refusalOf(response) {
  let message = "";
  try {
    message = String((await response.json()).error.message);
  } catch {
    message = `the server answered ${response.status} ${response.statusText}`.trim();
  }
  const wait = response.headers.get("retry-after");
  const hints = {
    401: " Put an API key under Options.",
    503: wait ? ` Try again in ${wait} s.` : " Try again in a moment.",
  };
  return sentence(message) + (hints[response.status] ?? "");
}

// --- the stream -------------------------------------------------------------------------------------------------------

/** The data of server-sent events, parsed, in one list per event; null stands for the end mark. */
async function* dataOf(body, signal) {
  const reader = body.getReader(); // a decoding stream between would lose its last piece when the connection breaks
  const decoder = new TextDecoder();
  let held = "";
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (held + decoder.decode(value, { stream: true })).replaceAll("\r\n", "\n").split("\n\n");
      held = parts.pop();
      for (const part of parts) yield valuesOf(part);
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof AskFailed || signal?.aborted) throw error;
    throw new AskFailed("The connection was lost; what had arrived is kept.");
  } finally {
    reader.cancel().catch(() => undefined); // the connection is gone already
  }
}

function valuesOf(part) {
  const lines = part.split("\n").filter((line) => line.startsWith("data:"));
  const data = lines.map((line) => line.slice(5).trimStart()).join("\n");
  if (!data) return [];
  if (data === "[DONE]") return [null];
  try {
    return [JSON.parse(data)];
  } catch {
    throw new AskFailed("The server sent something that is not JSON; what had arrived before is kept.");
  }
}

/** What a stream has told so far. The last event is held until the totals behind it are known. */
class Told {
  constructor(question) {
    this.question = question;
    this.events = [];
    this.answer = "";
    this.last = null;
    this.totals = null;
    this.failure = "";
    this.done = false;
  }

  /** The events to show for one value of the stream. */
  take(value) {
    if (value === null) return this.end();
    if (value.error) {
      this.failure = sentence(String(value.error.message ?? "the server reported an error without a message"));
      this.totals = value.sprint ?? this.totals;
      return this.whole();
    }
    for (const choice of value.choices ?? []) this.answer += choice.delta?.content ?? "";
    this.totals = value.sprint ?? this.totals;
    return value.sprint_event ? this.takeEvent(value.sprint_event) : [];
  }

  takeEvent(event) {
    if (event.kind === "finished") {
      this.last = event;
      return [];
    }
    if (faultOf(event)) return []; // of a newer server, or none at all: not shown, not kept
    this.events.push(stripped(event));
    return [this.events.at(-1)];
  }

  end() {
    this.done = true;
    if (!this.last) this.failure = "The server sent no events: it may be an older one, or not a SPRINT service.";
    return this.whole();
  }

  /** The last event, if it was told. */
  whole() {
    return this.last ? [finishedEvent(this.question, this.events, this.last, this.answer, this.totals)] : [];
  }
}

/** A message as a sentence: with a capital and a full stop. */
export function sentence(message) {
  return message.charAt(0).toUpperCase() + message.slice(1).replace(/[^.!?]$/, "$&.");
}
