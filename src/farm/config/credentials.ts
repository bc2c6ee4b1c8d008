/**
 * Who asks a server, and over which way that may be said.
 */
import { resolve } from "node:path";
import { z } from "zod";

export const CredentialsConfig = z
  .strictObject({
    user: z.string().min(1).optional().describe("User name that goes with the password."),
    passwordFile: z
      .string()
      .min(1)
      .optional()
      .describe("File that holds the password, relative to this file."),
    tokenFile: z
      .string()
      .min(1)
      .optional()
      .describe("File that holds a bearer token, instead of a user name and a password."),
    overHttp: z
      .boolean()
      .optional()
      .describe(
        "Also send them over plain http, where anybody on the network path can read them. Default: false.",
      ),
  })
  .refine(
    ({ user, passwordFile, tokenFile }) =>
      tokenFile === undefined
        ? user !== undefined && passwordFile !== undefined
        : user === undefined && passwordFile === undefined,
    { error: "either `user` and `passwordFile`, or `tokenFile`" },
  );

export type CredentialsConfig = z.infer<typeof CredentialsConfig>;

/** Over http, anybody on the network path reads what is sent; on this machine there is no network path. */
export function areInTheOpen(credentials: CredentialsConfig | undefined, urls: readonly unknown[]): boolean {
  if (credentials === undefined || credentials.overHttp === true) return false;
  return urls.some((url) => {
    const { protocol, hostname } = URL.parse(String(url)) ?? {};
    return protocol === "http:" && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname ?? "");
  });
}

export const IN_THE_OPEN = {
  path: ["credentials"],
  error: "would be sent over plain http: use https, or set `overHttp: true` beside them",
};

/** The same with absolute paths. */
export function credentialsAt<T extends CredentialsConfig | undefined>(base: string, credentials: T): T {
  if (credentials === undefined) return credentials;
  const at = (file: string | undefined) => (file === undefined ? undefined : resolve(base, file));
  return { ...credentials, passwordFile: at(credentials.passwordFile), tokenFile: at(credentials.tokenFile) };
}
