/** Groups the lines of a split price into its four parts, and the contributors' part by who is paid. Integers only. */

import { readAmount, total } from "../../shared/amount";
import type { Contribution, Entry, Role, RoleSum } from "../../shared/api";

export type PartName = "contributors" | "model" | "stakers" | "platform";

export interface Line {
  /** The account; a role where several lines of a part go to one. */
  key: string;
  /** Contributors by their handles, or what the line is for. */
  names: string[];
  contributor: boolean;
  amount: bigint;
}

export interface Part {
  name: PartName;
  amount: bigint;
  /** Largest first. */
  lines: Line[];
}

const PART_OF: Record<Role, PartName> = {
  contributor: "contributors",
  owner: "model",
  node: "model",
  parent: "model",
  stakers: "stakers",
  treasury: "platform",
  validation: "platform",
  insurance: "platform",
};

const ROLE_NAMES: Record<Role, string> = {
  contributor: "contributor",
  owner: "model's owner",
  node: "node that answered",
  parent: "parent models",
  stakers: "stakers",
  treasury: "treasury",
  validation: "validation",
  insurance: "insurance",
};

/** The four parts, contributors first; a part nobody is paid from is there with nothing. */
export function parts(entries: readonly Entry[], contributions: readonly Contribution[]): Part[] {
  const byId = new Map(contributions.map((contribution) => [contribution.id, contribution]));
  return (["contributors", "model", "stakers", "platform"] as const).map((name) => {
    const lines = new Map<string, Line>();
    for (const entry of entries) {
      const amount = readAmount(entry.amount);
      if (PART_OF[entry.role] !== name || amount === 0n) continue;
      const contributor = entry.role === "contributor";
      const key = contributor ? entry.account : entry.role;
      const known = lines.get(key);
      if (known !== undefined) {
        known.amount += amount;
        continue;
      }
      const names = contributor ? payees(entry, byId) : [ROLE_NAMES[entry.role]];
      lines.set(key, { key, names, contributor, amount });
    }
    const sorted = [...lines.values()].sort((a, b) => (a.amount < b.amount ? 1 : a.amount > b.amount ? -1 : 0));
    return { name, amount: total(sorted.map((line) => line.amount)), lines: sorted };
  });
}

/** The four parts from the public sums of a split: no line says who is paid. */
export function publicParts(split: readonly RoleSum[]): Part[] {
  return (["contributors", "model", "stakers", "platform"] as const).map((name) => {
    const sums = split
      .filter(({ role }) => PART_OF[role] === name)
      .map(({ role, lines, amount }) => ({ role, lines, amount: readAmount(amount) }));
    const paid = sums.filter(({ amount }) => amount > 0n);
    const line = ({ role, lines, amount }: (typeof sums)[number]): Line => ({
      key: role,
      names: [role === "contributor" ? `${lines} ${lines === 1 ? "line" : "lines"} of contributors` : ROLE_NAMES[role]],
      contributor: false,
      amount,
    });
    return { name, amount: total(paid.map(({ amount }) => amount)), lines: paid.map(line) };
  });
}

/** Who stands behind a contributor's line: a splitter has no handle, its contribution's contributors do. */
function payees(entry: Entry, byId: ReadonlyMap<string, Contribution>): string[] {
  if (entry.name !== null) return [entry.name];
  const contribution = entry.contribution === null ? undefined : byId.get(entry.contribution);
  return contribution?.contributors ?? [`${entry.account.slice(0, 10)}…`];
}
