// Starts the worker, also where its script lies on another origin than the page, which browsers refuse.

type Spawn = new (url: URL, options: WorkerOptions) => Worker;

/** Bundlers know a worker by the very text below, so what works around the refusal goes by that class's name. */
export function spawn(Worker: Spawn = AnyOriginWorker as unknown as Spawn): Worker {
  return new Worker(new URL("../worker.ts", import.meta.url), { type: "module" });
}

/** Called with `new`, gives what it returns. A script of another origin runs in a worker of this one if one of this origin imports it. */
function AnyOriginWorker(url: URL, options: WorkerOptions): Worker {
  if (url.origin === location.origin) return new Worker(url, options);
  const text = `import ${JSON.stringify(url.href)};`;
  const script = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const worker = new Worker(script, options);
  // The address is read when the worker starts, which is soon after this.
  setTimeout(() => {
    URL.revokeObjectURL(script);
  }, 60_000);
  return worker;
}
