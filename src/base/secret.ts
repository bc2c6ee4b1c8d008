/**
 * What must never be seen: passwords and tokens, in a box that prints `***` however it is printed.
 */
import { inspect } from "node:util";

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The secret itself, for the one place that sends it. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return "***";
  }

  toJSON(): string {
    return "***";
  }

  [inspect.custom](): string {
    return "***";
  }
}

/** Who asks, and where that may be said: the server of `url`, and no other. */
export interface Credentials {
  readonly url: string;
  /** The value of the Authorization header. */
  readonly authorization: Secret;
}

/** Of several credentials for the server of `url`, those whose path is closest to it. */
export function credentialsFor(url: string, known: readonly Credentials[]): Credentials | undefined {
  const wanted = URL.parse(url);
  if (wanted === null) return undefined;
  const wantedPath = wanted.pathname.split("/");
  const shared = (one: Credentials) => {
    const path = new URL(one.url).pathname.split("/").filter((segment) => segment !== "");
    const differing = path.findIndex((segment, index) => segment !== wantedPath[index + 1]);
    return differing < 0 ? path.length : differing;
  };
  return known
    .filter((one) => new URL(one.url).origin === wanted.origin)
    .toSorted((a, b) => shared(b) - shared(a))[0];
}
