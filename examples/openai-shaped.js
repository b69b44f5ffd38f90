import { Halfdepth } from "../dist/halfdepth-library.js";

document.querySelector("#start").addEventListener("click", async () => {
  const state = document.querySelector("#state");
  const answer = document.querySelector("#answer");
  state.textContent = "loading";
  const halfdepth = await Halfdepth.load({ model: "../dist/models/halfdepth-stories-12L/" });
  const messages = [{ role: "user", content: "Tell me a story about Lily." }];
  answer.textContent = "";
  const stream = await halfdepth.chat.completions.create({
    model: "half",
    messages,
    max_tokens: 16,
    stream: true,
  });
  for await (const chunk of stream) {
    answer.textContent += chunk.choices[0]?.delta.content ?? "";
  }
  const whole = await halfdepth.chat.completions.create({
    model: "half",
    messages,
    max_tokens: 16,
  });
  const isSame = whole.choices[0].message.content === answer.textContent;
  state.textContent = `${whole.usage.completion_tokens} tokens, ${isSame ? "the same" : "another text"}`;
  halfdepth.destroy();
});
