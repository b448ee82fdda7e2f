/** Contributors by their handles, each with its colour, drawn the same everywhere. */

import { useHue } from "./colours";

function One({ name }: { name: string }) {
  const hue = useHue(name);
  return (
    <span className="contributor">
      {hue !== undefined && <i className="swatch" data-hue={hue} aria-hidden="true" />}
      <bdi>{name}</bdi>
    </span>
  );
}

/** One batch may have several contributors; they are shown in their order. */
export function ContributorName({ names }: { names: readonly string[] }) {
  return (
    <span className="contributors">
      {names.map((name) => (
        <One key={name} name={name} />
      ))}
    </span>
  );
}
