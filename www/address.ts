// From what stands in ?model= to the address of a manifest. Only http and https pass.
import { HalfdepthError } from "./protocol";
import { strings } from "./strings";

const DEFAULT_PACK = "./models/halfdepth-stories-12L/";

/** `search` is the page's query string, `page` the page's own address. */
export function manifestUrl(search: string, page: string): string {
  const asked = new URLSearchParams(search).get("model")?.trim();
  return packUrl(asked === undefined || asked === "" ? DEFAULT_PACK : asked, page);
}

/** `text` is the address of a pack's folder or of its manifest, as somebody wrote it; `page` what it is relative to. */
export function packUrl(text: string, page: string): string {
  if (!URL.canParse(text, page)) throw invalid(strings.address.unreadable(text));
  const url = new URL(text, page);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw invalid(strings.address.scheme(text, url.protocol));
  }
  // fetch refuses such an address, and with a message that tells nobody why.
  if (url.username !== "" || url.password !== "") throw invalid(strings.address.credentials);
  url.hash = "";
  if (url.pathname.endsWith(".json")) return url.href;
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return new URL("manifest.json", url).href;
}

/** Where a file of the pack lies: beside its manifest. */
export function fileUrl(manifest: string, file: string): string {
  return new URL(file, manifest).href;
}

function invalid(message: string): HalfdepthError {
  return new HalfdepthError("InvalidAddress", message);
}
