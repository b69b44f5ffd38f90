// Tells a conversation that its tab was hidden: browsers slow down what nobody sees, and its clocks with it.
import type { Conversation } from "./turns";

/** From now on; gives what ends it. */
export function watchVisibility(conversation: Conversation): () => void {
  const tell = () => {
    if (document.hidden) conversation.wasHidden();
  };
  document.addEventListener("visibilitychange", tell);
  return () => {
    document.removeEventListener("visibilitychange", tell);
  };
}
