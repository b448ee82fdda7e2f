/** From byte offsets in UTF-8, as receipts give them, to places in a string. */

/**
 * The string index of each character's first byte, by byte offset; other bytes are absent.
 * The end of the text is a place too.
 */
export function byteIndex(text: string): (offset: number) => number | undefined {
  const places = new Map<number, number>();
  let bytes = 0;
  let units = 0;
  for (const character of text) {
    places.set(bytes, units);
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    units += character.length;
  }
  places.set(bytes, units);
  return (offset) => places.get(offset);
}
