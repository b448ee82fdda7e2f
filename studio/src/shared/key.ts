/**
 * The reader's key: the operator's token or the API key of a channel, given as `#key=…` after the
 * page's address.
 *
 * Invariant: it is kept for this tab only, and taken out of the address at once, so that nobody
 * copies it with a link. What cannot be a key is taken out too, and is not kept.
 */

const NAME = "openledger.key";

/** What an `Authorization` header can carry. */
const KEY = /^[!-~]+$/;

/** Takes the key out of the page's address; returns whether one was kept. */
export function takeKey(): boolean {
  const given = /^#key=(.*)$/s.exec(location.hash)?.[1];
  if (given === undefined) return false;
  history.replaceState(null, "", location.pathname + location.search);
  const key = decoded(given);
  if (key === undefined || !KEY.test(key)) return false;
  sessionStorage.setItem(NAME, key);
  return true;
}

/** The key of this tab. */
export function storedKey(): string | undefined {
  return sessionStorage.getItem(NAME) ?? undefined;
}

/** Forgets the key: the node does not know it, and refuses with it what everybody may read. */
export function forgetKey(): void {
  sessionStorage.removeItem(NAME);
}

/** `text` without its escapes; nothing where one is malformed. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
