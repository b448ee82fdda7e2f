/**
 * The reader's key: the operator's token or the API key of a channel, given as `#key=…` after the page's address.
 *
 * Invariant: it is kept for this tab only, and taken out of the address at once, so that nobody copies it with a link.
 */

const NAME = "openledger.key";

/** Takes the key out of the page's address, if there is one. */
export function takeKey(): void {
  const given = /^#key=(.+)$/.exec(location.hash)?.[1];
  if (given === undefined) return;
  sessionStorage.setItem(NAME, decodeURIComponent(given));
  history.replaceState(null, "", location.pathname + location.search);
}

/** The key of this tab. */
export function storedKey(): string | undefined {
  return sessionStorage.getItem(NAME) ?? undefined;
}
