/**
 * URLs that are safe to ask for: names of packages hold characters that some stores read as something else.
 */

/** Joins a base and a relative path of an index; `+`, which some stores read as a space, is escaped. */
export function urlOf(base: string, path: string): string {
  return `${base.replace(/\/+$/, "")}/${path.split("/").map(encodeURIComponent).join("/").replaceAll("%7E", "~")}`;
}

/** Whether a user or a password stands in a URL: what is asked for by it stands in messages, arguments and documents. */
export function holdsCredentials(url: string): boolean {
  const { username = "", password = "" } = URL.parse(url) ?? {};
  return username !== "" || password !== "";
}
