// Replays a recording: a clock that can be paused, sped up and set, over events with times.
//
// It knows events, their times and the state they fold into. It draws nothing: whoever made it is told when to look.

import { durationOf, timesOf } from "./clock.js";
import { newRollout, take } from "./rollout.js";

export class Player {
  /** `changed` is called whenever the state, the time or the pace is another. */
  constructor(events, changed) {
    this.events = events;
    this.times = timesOf(events);
    this.duration = durationOf(events, this.times);
    this.speed = 1;
    this.playing = false;
    this.changed = changed;
    this.rewind();
  }

  play() {
    if (this.time >= this.duration) this.rewind();
    this.playing = true;
    this.last = null;
    requestAnimationFrame((now) => this.frame(now));
    this.changed();
  }

  pause() {
    this.playing = false;
    this.changed();
  }

  /** Goes to a second; backwards means from the beginning. */
  seek(time) {
    if (time < this.time) this.rewind();
    this.advance(time);
    this.changed();
  }

  rewind() {
    this.state = newRollout(this.events.at(-1)?.rollout?.question ?? "");
    this.next = 0;
    this.time = 0;
  }

  frame(now) {
    if (!this.playing) return;
    const passed = this.last === null ? 0 : (now - this.last) / 1000;
    this.last = now;
    this.advance(this.time + passed * this.speed);
    if (this.time >= this.duration) this.playing = false;
    else requestAnimationFrame((later) => this.frame(later));
    this.changed();
  }

  advance(time) {
    this.time = Math.min(Math.max(time, 0), this.duration);
    while (this.next < this.events.length && this.times[this.next] <= this.time) {
      take(this.state, this.events[this.next], this.times[this.next]);
      this.next += 1;
    }
    if (!this.state.finished) this.state.at = this.time;
  }
}
