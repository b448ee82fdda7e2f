/** How much of each layer's pot evidence accounts for; the rest is paid by training weight. */

import type { Coverage } from "../../shared/api";
import { Meter, Share } from "../../shared/Share";

const LAYERS: { layer: keyof Coverage; means: string }[] = [
  { layer: "spans", means: "words found verbatim in records" },
  { layer: "influence", means: "records that made the answer likelier" },
  { layer: "retrieval", means: "records that were looked up" },
];

export function CoverageMeters({ coverage }: { coverage: Coverage }) {
  return (
    <dl className="coverage">
      {LAYERS.map(({ layer, means }) => {
        const bps = Math.floor(coverage[layer] / 100);
        return (
          <div key={layer} title={means}>
            <dt>{layer}</dt>
            <dd>
              <Meter bps={bps} />
              <Share bps={bps} />
            </dd>
          </div>
        );
      })}
    </dl>
  );
}
