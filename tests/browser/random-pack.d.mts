export function serveRandomPack(): Promise<{
  manifestUrl: string;
  /** Of all files that the manifest lists. */
  bytes: number;
  close: () => void;
}>;
