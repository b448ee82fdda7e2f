/** A hash or account: its first and last digits, all of it in the title. */

export function shortHash(hash: string): string {
  return hash.length <= 14 ? hash : `${hash.slice(0, 8)}…${hash.slice(-4)}`;
}

export function Hash({ value }: { value: string }) {
  return (
    <code className="hash" title={value}>
      {shortHash(value)}
    </code>
  );
}
