/** Which servers a person named, as distinct from those that lists, mirrors and redirects name. */

/** Servers that a person named, by host and port: an upgrade to TLS, or back, stays with the same person. */
export class OwnServers {
  readonly #authorities = new Set<string>();

  /** `places` are URLs, or hosts with a port or without: then every port is meant. */
  constructor(places: Iterable<string> = []) {
    for (const place of places) this.add(place);
  }

  add(place: string): void {
    const isHost = !place.includes("/");
    const url = URL.parse(isHost ? `http://${place}/` : place);
    if (url === null) return;
    if (isHost && !/:\d+$/.test(place)) this.#authorities.add(hostOf(url.hostname));
    for (const port of [portOf(url), "80", "443"]) this.#authorities.add(`${hostOf(url.hostname)} ${port}`);
  }

  has(hostname: string, port: string): boolean {
    const host = hostOf(hostname);
    return this.#authorities.has(host) || this.#authorities.has(`${host} ${port}`);
  }
}

/** Without the brackets of an address, and without the dot that only says that a name is whole. */
export function hostOf(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
}

export function portOf({ port, protocol }: Pick<URL, "port" | "protocol">): string {
  return port || (protocol === "https:" ? "443" : "80");
}
