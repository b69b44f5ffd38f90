// Browsers slow down what nobody sees, and its clocks with it: what was measured meanwhile is void.

/** Tells whenever the tab is hidden, from now on; gives what ends it. */
export function onHidden(tell: () => void): () => void {
  const look = () => {
    if (document.hidden) tell();
  };
  document.addEventListener("visibilitychange", look);
  return () => {
    document.removeEventListener("visibilitychange", look);
  };
}
