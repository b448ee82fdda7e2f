/** The contributions of each datanet, newest first: who, how many records, and the root that stands on chain. */

import type { Contribution, Datanet } from "../../shared/api";
import { ContributorName } from "../../shared/ContributorName";
import { useFirst } from "../../shared/first";
import { Hash } from "../../shared/Hash";

/** How many are shown before anyone asks for more. */
const FIRST = 6;

interface Props {
  contributions: readonly Contribution[];
  datanets: readonly Datanet[];
}

export function Contributions({ contributions, datanets }: Props) {
  const { shown, more } = useFirst(contributions, FIRST, "contributions");
  return (
    <>
      <ul className="datanets" aria-label="Datanets">
        {datanets.map((datanet) => (
          <li key={datanet.id}>
            <strong>
              <bdi>{datanet.name}</bdi>
            </strong>
            <span>
              {datanet.version === 0 ? "not published" : `version ${datanet.version}`} ·{" "}
              {datanet.records.toLocaleString()} records
            </span>
          </li>
        ))}
      </ul>
      <table>
        <caption className="unseen">Contributions, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Contributor</th>
            <th scope="col">Datanet</th>
            <th scope="col" className="figure">
              Records
            </th>
            <th scope="col">Root</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((contribution) => (
            <tr key={contribution.id}>
              <th scope="row">
                <ContributorName names={contribution.contributors} />
              </th>
              <td data-label="Datanet">
                <bdi>{contribution.datanet_name}</bdi>
              </td>
              <td data-label="Records" className="figure">
                {contribution.records.toLocaleString()}
              </td>
              <td data-label="Root">
                <Hash value={contribution.root} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {more}
    </>
  );
}
