import { Halfdepth } from "../dist/halfdepth-library.js";

const model = "../dist/models/halfdepth-stories-12L/";
const show = (id, text) => (document.querySelector(id).textContent = text);
let stop = new AbortController();

document.querySelector("#stop").addEventListener("click", () => stop.abort());
document.querySelector("#start").addEventListener("click", async () => {
  stop = new AbortController();
  const { signal } = stop;
  show("#state", await Halfdepth.availability({ model }));
  const halfdepth = await Halfdepth.load({
    model,
    plans: ["half"],
    signal,
    monitor(m) {
      m.addEventListener("downloadprogress", ({ loaded }) => {
        show("#state", `${Math.round(loaded * 100)} %`);
      });
    },
  });
  try {
    const session = await halfdepth.create({ plan: "half", maxTokens: 24, signal });
    let answer = "";
    for await (const text of session.promptStreaming("Tell me a story about Lily.")) {
      answer += text;
      show("#answer", answer);
    }
    show("#usage", `${session.contextUsage} of ${session.contextWindow} tokens`);
    show("#state", "done");
  } catch (error) {
    show("#state", error.name);
  } finally {
    halfdepth.destroy();
  }
});
