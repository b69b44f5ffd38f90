// Which plans the two lanes run: the pack's, as the visitor or the address has chosen them, and what has been changed of them.
import { changed, fits } from "./change";
import type { PackInfo, PlanChange, PlanInfo } from "./engine";
import { choosePlans, withPlan, type LaneIndex, type Plans } from "./turns";

type Changes = readonly [PlanChange | null, PlanChange | null];

export class Lanes {
  /** Null before a pack is open. */
  plans: Plans | null = null;
  /** What either lane may run. */
  choices: readonly PlanInfo[] = [];
  /** Plans that were asked for and that the pack lacks. */
  unknown: readonly string[] = [];
  /** Plans with changes that were asked for and that the pack's model cannot run. */
  unfit: readonly string[] = [];
  /** Names of plans, as far as any were asked for. */
  asked: readonly string[] = [];
  private changes: Changes = [null, null];
  private pack: PackInfo | null = null;

  /** What an address asks for, to be chosen once a pack is open. */
  ask(plans: readonly string[], changes: readonly (PlanChange | null)[]): void {
    this.asked = plans;
    this.changes = [changes[0] ?? null, changes[1] ?? null];
  }

  open(pack: PackInfo): void {
    this.pack = pack;
    const lacks = (name: string | undefined) =>
      name !== undefined && !pack.plans.some((plan) => plan.name === name);
    const isUnfit = (change: PlanChange | null, lane: number) =>
      change !== null && !lacks(this.asked[lane]) && !fits(change, pack.layers);
    this.unfit = this.asked.filter((_, lane) => isUnfit(this.changes[lane] ?? null, lane));
    // Another plan than the one that was meant is not changed in its place.
    const keep = (lane: LaneIndex) => {
      const change = this.changes[lane];
      return change === null || lacks(this.asked[lane]) || isUnfit(change, lane) ? null : change;
    };
    this.changes = [keep(0), keep(1)];
    this.show();
  }

  /** Another plan of the pack for a lane, as the pack has it. What the other lane runs comes to it by changing places. */
  choose(lane: LaneIndex, name: string): void {
    if (this.plans === null) return;
    const [first, second] = this.changes;
    const other = this.plans[lane === 0 ? 1 : 0].name;
    // The plan that moves takes along what was changed of it.
    if (name === other) this.changes = lane === 0 ? [null, first] : [second, null];
    else this.changes = lane === 0 ? [null, second] : [first, null];
    this.asked = withPlan(this.plans, lane, name);
    this.show();
  }

  /** Other layers for a lane from its next answer on; null takes back whatever was changed. */
  change(lane: LaneIndex, change: PlanChange | null): void {
    const [first, second] = this.changes;
    this.changes = lane === 0 ? [change, second] : [first, change];
    this.show();
  }

  private show(): void {
    if (this.pack === null) return;
    const chosen = choosePlans(this.pack.plans, this.asked);
    if (chosen === null) return;
    this.plans = [
      changed(this.pack, chosen.first, this.changes[0]),
      changed(this.pack, chosen.second, this.changes[1]),
    ];
    this.choices = chosen.choices;
    this.unknown = chosen.unknown;
  }
}
