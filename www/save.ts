// Hands a file to the visitor's browser to be saved.

/** A file's name from what stands on the page: nothing in it that a file system could take amiss. */
export function fileName(parts: readonly string[], ending: string): string {
  const plain = parts
    .join(" ")
    .normalize("NFKD")
    .replaceAll(/[^A-Za-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, 60)
    .toLowerCase();
  return `${plain === "" ? "halfdepth" : plain}.${ending}`;
}

export function save(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = name;
  anchor.click();
  // The browser reads it after this task; a minute is ample, also where it asks where to.
  setTimeout(() => {
    URL.revokeObjectURL(address);
  }, 60_000);
}
