// The page around the frame: makes it as high as it wants to be, asks it something, and shows what came of it.
const frame = document.querySelector("iframe");
const address = new URL(frame.dataset.src, location.href);
address.searchParams.set("parent", location.origin);
frame.src = address.href;

addEventListener("message", ({ origin, source, data }) => {
  if (origin !== address.origin || source !== frame.contentWindow) return;
  if (data?.source !== "halfdepth") return;
  if (data.type === "resize") frame.style.height = `${data.height}px`;
  if (data.type !== "done") return;
  const [full, half] = data.detail.answers;
  document.querySelector("#heard").textContent =
    `${full.tokens.length} and ${half.tokens.length} tokens on “${data.detail.prompt}”.`;
});

document.querySelector("#ask").addEventListener("click", () => {
  const question = { target: "halfdepth", type: "ask", prompt: "What do you do when it rains?" };
  frame.contentWindow.postMessage(question, address.origin);
});
