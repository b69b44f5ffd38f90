// Cuts a stream of text into sentences for the screen reader: half a word at a time is noise.

export class Sentences {
  private rest = "";

  /** The sentences that this text completes. */
  push(text: string): string[] {
    this.rest += text;
    // An end needs something after it: "3." may become "3.5".
    const parts = this.rest.split(/(?<=[.!?…]["'”’)]*)\s+|\n+/);
    this.rest = parts.pop() ?? "";
    return parts.filter((part) => part.trim() !== "");
  }

  /** What is left when the answer ends. */
  finish(): string[] {
    const last = this.rest.trim();
    this.rest = "";
    return last === "" ? [] : [last];
  }
}
