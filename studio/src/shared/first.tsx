/** The first few of a list, and a button for the rest; a long list should not push the page's next thought away. */

import { type ReactNode, useState } from "react";

/** The items to show now, and the button that changes that; no button where all fit. One item more is simply shown. */
export function useFirst<T>(items: readonly T[], few: number, what: string): { shown: readonly T[]; more: ReactNode } {
  const [all, setAll] = useState(false);
  if (items.length <= few + 1) return { shown: items, more: null };
  const more = (
    <button type="button" className="more" aria-expanded={all} onClick={() => setAll(!all)}>
      {all ? "Show fewer" : `Show all ${items.length}`}
      <span className="unseen"> {what}</span>
    </button>
  );
  return { shown: all ? items : items.slice(0, few), more };
}
