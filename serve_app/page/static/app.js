// The page: what a person does, and what is shown of it. It wires the parts together and holds what is being shown:
// nothing, a live rollout, or a replay.
//
// It knows the controls by their ids. How a rollout is asked for, folded, replayed and drawn stands elsewhere.

import { ask, AskFailed } from "./ask.js";
import { byId, say } from "./dom.js";
import { Files } from "./files.js";
import { Form } from "./form.js";
import { Player } from "./player.js";
import { breakOff, newRollout, take } from "./rollout.js";
import { View } from "./view.js";

class App {
  constructor() {
    this.due = false;
    this.view = new View(() => this.draw());
    this.form = new Form(
      (request) => this.ask(request),
      () => this.stop(),
    );
    this.files = new Files(
      (events, name) => this.replay(events, name),
      (message) => this.fail(message),
    );
    this.player = null;
    this.live = null; // {state, events, controller, began, settled}
    byId("play").addEventListener("click", () => this.togglePlay());
    byId("scrub").addEventListener("input", () => this.scrub());
    byId("speed").addEventListener("change", () => this.setSpeed());
    byId("save").addEventListener("click", () => this.files.save(this.events()));
    addEventListener("keydown", (event) => this.key(event));
    this.draw();
  }

  events() {
    return this.live?.events ?? this.player?.events ?? [];
  }

  // --- a live rollout -------------------------------------------------------------------------------------------------

  async ask(request) {
    this.stop();
    this.player?.pause();
    this.player = null;
    const live = {
      state: newRollout(request.question),
      events: [],
      controller: new AbortController(),
      began: performance.now(),
    };
    this.live = live;
    this.fail("");
    this.view.clear();
    this.form.setRunning(true);
    this.tick(live);
    await this.follow(live, request);
    if (this.live !== live) return; // another question was asked meanwhile
    this.form.setRunning(false);
    this.settle(live);
  }

  async follow(live, request) {
    const since = () => (performance.now() - live.began) / 1000;
    try {
      for await (const events of ask(request, this.form.key, live.controller.signal)) {
        for (const event of events) {
          live.events.push(event);
          take(live.state, event, since());
        }
        this.draw();
      }
    } catch (error) {
      const stopped = live.controller.signal.aborted;
      breakOff(live.state, stopped ? "stopped" : "failed", since());
      if (!stopped) this.fail(error instanceof AskFailed ? error.message : `This page failed: ${error.message}`, live);
    }
  }

  /** Keeps the clock and the growing bars moving while nothing arrives. */
  tick(live) {
    if (this.live !== live || live.settled) return;
    live.state.at = Math.max(live.state.at, (performance.now() - live.began) / 1000);
    this.draw();
    setTimeout(() => this.tick(live), 100);
  }

  /** What has ended can be replayed and saved. */
  settle(live) {
    live.settled = true;
    const { detail, stop_reason: reason } = live.state.finished ?? {};
    if (reason === "failed") this.fail(`The engine failed: ${detail || "no detail was given"}.`);
    this.draw();
  }

  stop() {
    this.live?.controller.abort();
  }

  // --- replay ---------------------------------------------------------------------------------------------------------

  replay(events, name = "") {
    this.stop();
    this.live = null;
    this.fail("");
    this.form.setRunning(false);
    this.view.clear();
    this.player = new Player(events, () => this.draw());
    this.player.name = name;
    this.setSpeed();
    this.player.play();
  }

  togglePlay() {
    if (this.live?.settled) this.replay(this.live.events);
    else if (this.player?.playing) this.player.pause();
    else this.player?.play();
  }

  /** The scrubber of a live rollout that has ended turns it into a replay, paused where it was set. */
  scrub() {
    const share = byId("scrub").valueAsNumber / 1000;
    if (this.live?.settled) this.replay(this.live.events);
    this.player?.pause();
    this.player?.seek(share * this.player.duration);
  }

  setSpeed() {
    if (this.player) this.player.speed = Number(byId("speed").value);
  }

  // --- keys and drawing -----------------------------------------------------------------------------------------------

  key(event) {
    if (event.key === "Escape") {
      this.stop();
      this.player?.pause();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.form.submit();
    }
  }

  fail(message, live = this.live) {
    if (live !== this.live) return;
    byId("error").hidden = !message;
    say(byId("error"), message);
  }

  /** Once per frame, however much has arrived. */
  draw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.view.draw(this.live, this.player);
    });
  }
}

new App();
