// From what stands in ?model= to the address of a manifest. Only http and https pass.
import { manifestAddress } from "./manifest";
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
  const address = manifestAddress(text, page);
  if (address instanceof URL) return address.href;
  if (address === "credentials") throw invalid(strings.address.credentials);
  if (address === "unreadable") throw invalid(strings.address.unreadable(text));
  throw invalid(strings.address.scheme(text, new URL(text, page).protocol));
}

/** Where a file of the pack lies: beside its manifest. */
export function fileUrl(manifest: string, file: string): string {
  return new URL(file, manifest).href;
}

function invalid(message: string): HalfdepthError {
  return new HalfdepthError("InvalidAddress", message);
}
