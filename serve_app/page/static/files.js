// Stored rollouts in and out: the file dialogue, files that are dropped on the page, downloads.
//
// It knows files and the drop target; what a recording is stands in recording.js.

import { sentence } from "./ask.js";
import { byId, element } from "./dom.js";
import { fromLines, NoRecording, toLines } from "./recording.js";

const MOST_BYTES = 100e6;

export class Files {
  /** `opened` is given a recording's events and the file's name; `failed` one sentence. */
  constructor(opened, failed) {
    this.opened = opened;
    this.failed = failed;
    byId("open").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", () => this.takeChosen());
    for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => this.offer(event));
    addEventListener("dragleave", (event) => event.relatedTarget === null && this.withdraw());
    addEventListener("drop", (event) => this.takeDropped(event));
  }

  save(events) {
    const url = URL.createObjectURL(new Blob([toLines(events)], { type: "application/x-ndjson" }));
    element("a", {
      href: url,
      download: `rollout-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.jsonl`,
    }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  takeChosen() {
    const [file] = byId("file").files;
    if (file) this.read(file);
    byId("file").value = ""; // so that the same file can be opened again
  }

  offer(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    byId("drop").hidden = false;
  }

  withdraw() {
    byId("drop").hidden = true;
  }

  takeDropped(event) {
    const [file] = event.dataTransfer?.files ?? [];
    this.withdraw();
    if (!file) return;
    event.preventDefault();
    this.read(file);
  }

  async read(file) {
    try {
      if (file.size > MOST_BYTES) throw new NoRecording(`${file.name} holds more than ${MOST_BYTES / 1e6} MB.`);
      this.opened(fromLines(await file.text(), file.name), file.name);
    } catch (error) {
      const isOurs = error instanceof NoRecording;
      this.failed(isOurs ? sentence(error.message) : `${file.name} cannot be read: ${error.message}`);
    }
  }
}
