/** Indents JSON without reading its numbers, so that not a digit of a 64-bit seed is lost. */

const INDENT = "  ";

/** Reads JSON; a whole number of 16 digits or more becomes a string, so that not a digit is lost. */
export function parseExact(json: string): unknown {
  const quoted = json.replace(/"(?:[^"\\]|\\.)*"|\d{16,}/g, (token) => (token.startsWith('"') ? token : `"${token}"`));
  return JSON.parse(quoted);
}

/** `json` on many lines; the characters of its values are kept as they are. */
export function indentJson(json: string): string {
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g) ?? [];
  let depth = 0;
  let out = "";
  tokens.forEach((token, at) => {
    const line = () => `\n${INDENT.repeat(depth)}`;
    if (token === "{" || token === "[") {
      out += token;
      depth += 1;
      if (!/^[\]}]$/.test(tokens[at + 1] ?? "")) out += line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      out += /^[[{]$/.test(tokens[at - 1] ?? "") ? token : line() + token;
    } else if (token === ",") {
      out += token + line();
    } else {
      out += token === ":" ? ": " : token;
    }
  });
  return out;
}
