// The question and its options: read, checked, remembered where they may be.
//
// It knows the form's fields. The API key is kept in this tab's session storage and nowhere else.

import { AskFailed, models } from "./ask.js";
import { byId, element, say } from "./dom.js";

const KEY = "sprint-api-key";

export class Form {
  /** `asked` is given a checked request, `stopped` is called when the run is to end. */
  constructor(asked, stopped) {
    this.asked = asked;
    this.key = sessionStorage.getItem(KEY) ?? "";
    byId("key").value = this.key;
    byId("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    byId("stop").addEventListener("click", stopped);
    byId("key").addEventListener("change", () => this.setKey(byId("key").value.trim()));
    this.loadModels();
  }

  setKey(key) {
    this.key = key;
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
    this.loadModels();
  }

  async loadModels() {
    try {
      this.setModels(await models(this.key));
      say(byId("model-shown"), byId("model").value);
    } catch (error) {
      if (!(error instanceof AskFailed)) throw error;
      say(byId("model-shown"), error.message);
      this.setModels([]);
    }
  }

  setModels(names) {
    const chosen = byId("model").value;
    byId("model").replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    if (names.includes(chosen)) byId("model").value = chosen;
  }

  async submit() {
    const field = this.firstFault();
    if (field) {
      byId("options").open ||= field !== byId("question");
      field.focus();
      field.reportValidity();
      return;
    }
    if (!byId("model").value) await this.loadModels(); // the server may have come up since
    this.asked(this.request());
  }

  /** The first field that cannot be sent, with its message set; null where all can. */
  firstFault() {
    const question = byId("question");
    question.setCustomValidity(question.value.trim() ? "" : "Write a question first.");
    return ["question", "max-rounds", "temperature", "seed"].map(byId).find((field) => !field.checkValidity()) ?? null;
  }

  request() {
    const number = (id) => (byId(id).value === "" ? null : byId(id).valueAsNumber);
    return {
      question: byId("question").value.trim(),
      model: byId("model").value,
      mode: byId("mode").value,
      maxRounds: number("max-rounds"),
      temperature: number("temperature"),
      seed: number("seed"),
    };
  }

  /** While it runs, Stop can be pressed and has the focus that Ask had. */
  setRunning(running) {
    const had = document.activeElement;
    byId("stop").disabled = !running;
    byId("ask").disabled = running;
    if (running && had === byId("ask")) byId("stop").focus();
    if (!running && had === byId("stop")) byId("ask").focus();
  }
}

byId("question").addEventListener("input", () => byId("question").setCustomValidity(""));
