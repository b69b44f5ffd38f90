// Which plans the lanes run: the pack's, as the visitor or the address has chosen them, and what has been changed of them.
import { changed, fits } from "./change";
import type { PackInfo, PlanChange, PlanInfo } from "./engine";
import { choosePlans, type LaneIndex, type Plans } from "./turns";

type Changes = readonly [PlanChange | null, PlanChange | null, PlanChange | null];

const UNCHANGED: Changes = [null, null, null];

export class Lanes {
  /** Null before a pack is open. */
  plans: Plans | null = null;
  /** What any lane may run. */
  choices: readonly PlanInfo[] = [];
  /** Plans that were asked for and that the pack lacks. */
  unknown: readonly string[] = [];
  /** Plans with changes that were asked for and that the pack's model cannot run. */
  unfit: readonly string[] = [];
  /** Names of plans, as far as any were asked for. */
  asked: readonly string[] = [];
  private changes: Changes = UNCHANGED;
  private pack: PackInfo | null = null;

  /** What an address asks for, to be chosen once a pack is open. */
  ask(plans: readonly string[], changes: readonly (PlanChange | null)[]): void {
    this.asked = plans;
    this.changes = eachChange((lane) => changes[lane] ?? null);
  }

  open(pack: PackInfo): void {
    this.pack = pack;
    const lacks = (name: string | undefined) =>
      name !== undefined && !pack.plans.some((plan) => plan.name === name);
    const isUnfit = (change: PlanChange | null, lane: number) =>
      change !== null && !lacks(this.asked[lane]) && !fits(change, pack.layers);
    this.unfit = this.asked.filter((_, lane) => isUnfit(this.changes[lane] ?? null, lane));
    // Another plan than the one that was meant is not changed in its place.
    this.changes = eachChange((lane) => {
      const change = this.changes[lane];
      return change === null || lacks(this.asked[lane]) || isUnfit(change, lane) ? null : change;
    });
    this.show();
  }

  /** Another plan of the pack for a lane, as the pack has it. What another lane runs comes to it by changing places. */
  choose(lane: LaneIndex, name: string): void {
    if (this.plans === null) return;
    const names = this.plans.map((plan) => plan.name);
    const other = names.findIndex((its, at) => at !== lane && its === name);
    // The plan that moves takes along what was changed of it.
    const moved = this.changes[lane];
    this.changes = eachChange((at) => {
      if (at === lane) return null;
      return at === other ? moved : this.changes[at];
    });
    this.asked = names.map((its, at) => {
      if (at === lane) return name;
      return at === other ? (names[lane] ?? its) : its;
    });
    this.show();
  }

  /** A third lane, or none. */
  third(name: string | null): void {
    if (this.plans === null) return;
    const [first, second] = this.plans;
    this.asked = [first.name, second.name, ...(name === null ? [] : [name])];
    this.changes = [this.changes[0], this.changes[1], null];
    this.show();
  }

  /** Other layers for a lane from its next answer on; null takes back whatever was changed. */
  change(lane: LaneIndex, change: PlanChange | null): void {
    this.changes = eachChange((at) => (at === lane ? change : this.changes[at]));
    this.show();
  }

  private show(): void {
    if (this.pack === null) return;
    const chosen = choosePlans(this.pack.plans, this.asked);
    if (chosen === null) return;
    const pair = [
      changed(this.pack, chosen.first, this.changes[0]),
      changed(this.pack, chosen.second, this.changes[1]),
    ] as const;
    const { third } = chosen;
    this.plans = third === null ? pair : [...pair, changed(this.pack, third, this.changes[2])];
    this.choices = chosen.choices;
    this.unknown = chosen.unknown;
  }
}

function eachChange(make: (lane: LaneIndex) => PlanChange | null): Changes {
  return [make(0), make(1), make(2)];
}
