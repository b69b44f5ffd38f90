// Which layers a session has a lane run, by what it asks of its worker.
import { describe, expect, test } from "vitest";
import { changed } from "../../www/change";
import { Client, type WorkerLike } from "../../www/client";
import type { PlanChange, PlanInfo } from "../../www/engine";
import type { Call, FromWorker, Opened, ToWorker } from "../../www/protocol";
import { Session } from "../../www/session";
import { DEFAULT_SETTINGS } from "../../www/settings";
import { HALF_LAYERS, PACK } from "./pack";

const MEMORY = { weightBytes: 1, laneBytes: [], wasmBytes: 1 };
const SHORTER: PlanChange = { layers: [0, 11], muteAttention: [0], muteMlp: [] };

/** Answers at once, and writes down what it was asked. */
class Worker implements WorkerLike {
  readonly asked: string[] = [];
  refuse = false;
  onmessage: WorkerLike["onmessage"] = null;
  onmessageerror = null;
  private lanes = 0;

  postMessage(message: ToWorker): void {
    if (message.kind === "abort") return;
    queueMicrotask(() => {
      this.onmessage?.({ data: this.answer(message) } as MessageEvent<FromWorker>);
    });
  }

  terminate(): void {
    this.asked.push("end");
  }

  private answer({ id, ...call }: Call): FromWorker {
    const result = (value: unknown) => ({ kind: "result", id, value }) as FromWorker;
    switch (call.method) {
      case "open": {
        const adapter = { vendor: "", architecture: "", device: "", description: "" };
        const opened: Opened = {
          ...{ adapter: { ...adapter, fallback: false }, pack: PACK, bytes: 0, storedBytes: 0 },
        };
        return result(opened);
      }
      case "load":
        return result(MEMORY);
      case "addLane":
        this.asked.push(`lane ${this.lanes} for ${call.params.plan}`);
        return result({ lane: this.lanes++, memory: MEMORY });
      case "setPlan": {
        if (this.refuse) {
          return { kind: "error", id, error: { name: "InvalidRequest", message: "No." } };
        }
        const { layers, muteAttention, muteMlp } = call.params.change;
        this.asked.push(
          `lane ${call.params.lane} runs ${layers.join(" ")} without ${muteAttention.join(" ")}/${muteMlp.join(" ")}`,
        );
        return result(MEMORY);
      }
      case "turn":
        this.asked.push(`turn on ${call.params.lane}`);
        return result(null);
      case "compare":
        this.asked.push(`compare ${call.params.reference} and ${call.params.lane}`);
        return result([]);
      default:
        return result(null);
    }
  }
}

async function session(): Promise<{ worker: Worker; session: Session }> {
  const worker = new Worker();
  const loaded = await Session.load(new Client(worker), {
    manifestUrl: "https://example.org/manifest.json",
    signal: on(),
    onStage: () => undefined,
    consent: () => Promise.resolve(true),
    askedPlans: [],
  });
  expect(worker.asked.splice(0)).toEqual(["lane 0 for full", "lane 1 for half"]);
  return { worker, session: loaded };
}

const on = () => new AbortController().signal;
const [FULL, HALF] = PACK.plans as [PlanInfo, PlanInfo];
const CHANGED = changed(PACK, HALF, SHORTER);

async function turn(session: Session, plan: PlanInfo = HALF): Promise<void> {
  const request = { sampling: DEFAULT_SETTINGS.sampling, maxTokens: 1, stop: [], ids: [1] };
  const events = session.turn(plan, request, on());
  while ((await events.next()).done !== true);
}

describe("a lane", () => {
  test("runs the pack's plan without being told to", async () => {
    const { worker, session: it } = await session();
    await turn(it);
    expect(worker.asked).toEqual(["turn on 1"]);
  });

  test("is told of a change once, and told to go back", async () => {
    const { worker, session: it } = await session();
    await turn(it, CHANGED);
    await turn(it, CHANGED);
    await turn(it);
    expect(worker.asked).toEqual([
      ...["lane 1 runs 0 11 without 0/", "turn on 1", "turn on 1"],
      ...[`lane 1 runs ${HALF_LAYERS.join(" ")} without /`, "turn on 1"],
    ]);
  });

  test("that refused a change is told again", async () => {
    const { worker, session: it } = await session();
    worker.refuse = true;
    await expect(turn(it, CHANGED)).rejects.toThrow("No.");
    worker.refuse = false;
    await turn(it);
    expect(worker.asked).toEqual([`lane 1 runs ${HALF_LAYERS.join(" ")} without /`, "turn on 1"]);
  });

  test("is compared with another of the same plan where there is none to compare it with", async () => {
    const { worker, session: it } = await session();
    await it.compare(FULL, HALF, [], [1], on());
    await it.compareDepth(HALF, 2, [], [1], on());
    expect(worker.asked).toEqual([
      "compare 0 and 1",
      ...["lane 2 for half", "lane 2 runs 0 1 without /", "compare 1 and 2"],
    ]);
  });
});
