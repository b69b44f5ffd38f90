import "halfdepth/widget";
import { Halfdepth, HalfdepthError, type Availability } from "halfdepth";
import type { HalfDepthElement } from "halfdepth/widget";
import { answerOf } from "./widget-answers";

// Where the model lies, as the page's address says it.
const model = new URLSearchParams(location.search).get("model") ?? "./model/";

const widget: HalfDepthElement = document.createElement("half-depth");
widget.model = model;
widget.prompt = "Tell me a story about Lily.";
widget.maxTokens = 16;
widget.addEventListener("halfdepth-done", ({ detail }) => {
  show("#state", `widget: ${answerOf(detail, 1)}`);
});
document.querySelector("main")?.append(widget);

document.querySelector("#start")?.addEventListener("click", () => {
  void ask();
});

async function ask(): Promise<void> {
  try {
    const availability: Availability = await Halfdepth.availability({ model });
    show("#state", availability);
    const halfdepth = await Halfdepth.load({ model, plans: ["half"] });
    const session = await halfdepth.create({ maxTokens: 16 });
    const reader = session.promptStreaming("Tell me a story about Lily.").getReader();
    let answer = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      answer += read.value;
      show("#answer", answer);
    }
    const whole = await halfdepth.chat.completions.create({
      model: "half",
      messages: [{ role: "user", content: "Tell me a story about Lily." }],
      max_tokens: 16,
    });
    const said: string = whole.choices[0].message.content;
    show("#state", said === answer ? "the same in either shape" : `another text: ${said}`);
    halfdepth.destroy();
  } catch (thrown) {
    show(
      "#state",
      thrown instanceof HalfdepthError ? `${thrown.name}: ${thrown.message}` : String(thrown),
    );
  }
}

function show(selector: string, text: string): void {
  const element = document.querySelector(selector);
  if (element !== null) element.textContent = text;
}
