// What can be taken away from a comparison, made of what the page knows at that moment.
import { manifestUrl } from "../address";
import { link } from "../link";
import type { Measurement } from "../measure";
import { parting, tellParting } from "../parting";
import { savedReport } from "../report";
import type { Session } from "../session";
import { compare, type Exchange } from "../turns";
import { picture } from "./canvas";
import type { Sharer } from "./share";

export interface Known {
  /** Null while no model is open; nothing is taken away then. */
  session: () => Session | null;
  /** The conversation up to an exchange, and that too. */
  upTo: (exchange: Exchange) => readonly Exchange[];
  measurement: (exchange: Exchange) => Measurement | null;
}

export function sharerOf({ session, upTo, measurement }: Known): Sharer {
  const linkTo = (exchange: Exchange) => link(location.href, upTo(exchange));
  return {
    link: linkTo,
    picture: (exchange) => pictureOf(exchange, session()),
    report: (exchange) => {
      const open = session();
      const measured = measurement(exchange);
      const saved =
        open &&
        savedReport(open, upTo(exchange), {
          userAgent: navigator.userAgent,
          savedAt: new Date(),
          link: linkTo(exchange)?.address ?? null,
          manifest: manifestUrl(location.search, location.href),
          measured: measured?.kind === "measured" ? measured : null,
        });
      return new Blob([JSON.stringify(saved, null, 2)], { type: "application/json" });
    },
  };
}

function pictureOf(exchange: Exchange, session: Session | null): Promise<Blob> {
  if (session === null) return Promise.reject(new Error("no model is open"));
  const { pack, adapter } = session.opened;
  const { layers } = pack;
  const { answers } = exchange;
  const said = [answers[0].text, answers[1].text] as const;
  return picture({
    question: exchange.question,
    answers,
    departure: tellParting(parting(exchange, said), exchange, said, layers),
    comparison: compare(exchange),
    layers,
    model: pack.name,
    software: adapter.fallback,
    address: location.host + location.pathname,
  });
}
