// Runs first inside the page's worker and counts what reaches WebGPU, turn by turn, from outside the engine.
// In: the calls of the engine to the browser, and the messages of www/protocol.ts. Out: globalThis.webgpuLog.
// A classic script and a module at once: it neither imports nor exports.
(() => {
  const counts = {
    launches: 0,
    submits: 0,
    readbacks: 0,
    queueWrites: 0,
    buffers: 0,
    bufferBytes: 0,
    bindGroups: 0,
    pipelines: 0,
  };
  /** One entry a turn: { plan, steps: [{ tokens, finish, counts }] } and the counts when it was asked, started and ended. */
  const turns = [];
  /** By the engine's number of the lane: { plan, memory as the engine gives it, counts before and after it was made }. */
  const lanes = [];
  globalThis.webgpuLog = { counts, lanes, turns };

  count("GPUComputePassEncoder", "dispatchWorkgroups", () => counts.launches++);
  count("GPUComputePassEncoder", "dispatchWorkgroupsIndirect", () => counts.launches++);
  count("GPUQueue", "submit", () => counts.submits++);
  count("GPUQueue", "writeBuffer", () => counts.queueWrites++);
  count("GPUDevice", "createBindGroup", () => counts.bindGroups++);
  count("GPUDevice", "createComputePipeline", () => counts.pipelines++);
  count("GPUDevice", "createComputePipelineAsync", () => counts.pipelines++);
  count("GPUDevice", "createBuffer", ({ size }) => {
    counts.buffers++;
    counts.bufferBytes += size;
  });
  count("GPUBuffer", "mapAsync", (mode) => {
    if (mode & GPUMapMode.READ) counts.readbacks++;
  });

  // wasm memory never shrinks: its size is its peak.
  for (const name of ["instantiate", "instantiateStreaming"]) {
    const original = WebAssembly[name];
    WebAssembly[name] = async function (...given) {
      const made = await original.apply(this, given);
      globalThis.wasmMemory ??= (made.instance ?? made).exports.memory;
      return made;
    };
  }

  const adding = new Map(); // call id -> the lane to come
  const open = new Map(); // call id -> its turn
  // Before the worker's own listener, which starts the turn.
  addEventListener("message", ({ data }) => {
    if (data?.kind !== "call") return;
    if (data.method === "addLane") {
      adding.set(data.id, { plan: data.params.plan, asked: { ...counts } });
    } else if (data.method === "turn") {
      const { plan } = lanes[data.params.lane];
      const turn = { plan, asked: { ...counts }, started: null, steps: [], ended: null };
      open.set(data.id, turn);
      turns.push(turn);
    }
  });
  const post = globalThis.postMessage;
  globalThis.postMessage = function (message, ...rest) {
    note(message);
    return post.call(globalThis, message, ...rest);
  };

  function note(message) {
    if (message?.kind === "result" && adding.has(message.id)) {
      const { lane, memory } = message.value;
      lanes[lane] = { ...adding.get(message.id), memory, added: { ...counts } };
    }
    const turn = open.get(message?.id);
    if (turn === undefined) return;
    if (message.kind !== "event") {
      turn.ended = { ...counts };
      open.delete(message.id);
    } else if (message.event.kind === "started") {
      turn.started = { ...counts };
    } else if (message.event.kind === "step") {
      const { tokens, finish } = message.event.step;
      turn.steps.push({ tokens: tokens.length, finish, counts: { ...counts } });
    }
  }

  function count(type, method, seen) {
    // Absent where the browser has no WebGPU: the page then says so by itself.
    const prototype = globalThis[type]?.prototype;
    if (prototype === undefined) return;
    const original = prototype[method];
    prototype[method] = function (...given) {
      seen(...given);
      return original.apply(this, given);
    };
  }
})();
