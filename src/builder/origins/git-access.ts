/**
 * How git reaches a repository: which protocol it may speak, what of this machine it sees for that, and with whose key or
 * password. A password comes to it by a pipe, a key stays in its file or its agent.
 */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { FarmError, isErrno } from "../../base/error.ts";
import { boxedProgram } from "../../base/programs.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import { Secret } from "../../base/secret.ts";
import { type GitPlace, isSsh, type SshOfUser } from "./origin.ts";

export interface GitAccess {
  readonly url: string;
  readonly isRemote: boolean;
  /** Of git, as `-c` takes them. */
  readonly settings: readonly string[];
  /** What bwrap shows of this machine, beside the system's programs. */
  readonly sees: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** What git's helper reads at descriptor 3. */
  readonly secret?: Secret;
  /** Whose word opens it; what one could fetch is not there for others, who may have named only its commit. */
  readonly as?: string;
}

/** Where git sees a repository of this machine. */
export const INSIDE = "/repository";

export const readable = (path: string) => ["--ro-bind-try", path, path];
/** What finding a server and believing it takes. */
const NETWORK = [
  "--share-net",
  ...["resolv.conf", "hosts", "nsswitch.conf", "gai.conf", "ssl", "ca-certificates", "pki"].flatMap((name) =>
    readable(`/etc/${name}`),
  ),
];

/** @throws FarmError CONFIG_INVALID, FILE_UNREADABLE */
export async function gitAccess(place: GitPlace, base: string, user?: SshOfUser): Promise<GitAccess> {
  const { git } = place;
  if (/^https?:\/\//i.test(git)) return overHttp(place, base);
  if (isSsh(git)) return overSsh(place, base, user);
  if (/^[a-z][a-z0-9+.-]*::?/i.test(git) || git.startsWith("-")) {
    throw new FarmError("CONFIG_INVALID", {
      detail: `the repository ${git} is neither a URL of http(s) or ssh nor a path`,
      hint: "Clone it by hand, and configure the clone.",
    });
  }
  const url = resolve(base, git);
  return { url, isRemote: false, settings: [], sees: ["--ro-bind", url, INSIDE], env: {} };
}

async function overHttp({ git, credentials }: GitPlace, base: string): Promise<GitAccess> {
  const settings = ["protocol.http.allow=always", "protocol.https.allow=always"];
  const access = { url: git, isRemote: true, settings, sees: NETWORK, env: {} };
  if (credentials === undefined) return access;
  const password = await lineOf(resolve(base, credentials.passwordFile));
  return {
    ...access,
    // As git itself reads the URL: whatever else it may be led to gets none.
    settings: [...settings, `credential.${serverIn(git)}.helper=!f() { test "$1" != get || cat <&3; }; f`],
    as: `${credentials.user} ${resolve(base, credentials.passwordFile)}`,
    secret: new Secret(`username=${credentials.user}\npassword=${password}\n`),
  };
}

/** @throws FarmError CONFIG_INVALID */
function serverIn(git: string): string {
  const url = URL.parse(git);
  if (url !== null && !/[\\\s]/.test(git)) return `${url.protocol}//${url.host}`;
  throw new FarmError("CONFIG_INVALID", {
    detail: `the repository ${git} is no URL that names a single server`,
    hint: "Write it as https://HOST/PATH, and the user's name in `credentials`.",
  });
}

const LINE_LIMIT_BYTES = 64 * 1024;

async function lineOf(file: string): Promise<string> {
  const line = String(
    await readAtMost(file, LINE_LIMIT_BYTES).catch((thrown) => unreadable(file, thrown)),
  ).trim();
  if (/^$|\p{Cc}/u.test(line))
    throw new FarmError("CONFIG_INVALID", { detail: `the credentials file ${file} must hold one line` });
  return line;
}

function unreadable(file: string, cause: unknown): never {
  const why = isErrno(cause) ? ` (${cause.code})` : "";
  throw new FarmError("FILE_UNREADABLE", { detail: `${file} cannot be read${why}`, cause });
}

const [AGENT, KEY, KNOWN] = ["/ssh/agent", "/ssh/key", "/ssh/known_hosts"];

async function overSsh(
  { git, key, knownHosts }: GitPlace,
  base: string,
  user?: SshOfUser,
): Promise<GitAccess> {
  const keyFile = key === undefined ? undefined : resolve(base, key);
  if (keyFile !== undefined) await stat(keyFile).catch((thrown) => unreadable(keyFile, thrown));
  const given = keyFile ?? user?.agent;
  if (given === undefined)
    throw new FarmError("CONFIG_INVALID", {
      detail: `${git} is reached by ssh, and there is neither an agent (SSH_AUTH_SOCK is not set) nor a \`key\``,
      hint: "Start an agent and `ssh-add` your key, or name a deploy key's file: `key: FILE` beside `git`.",
    });
  const known = knownHosts === undefined ? (user?.knownHosts ?? []) : [resolve(base, knownHosts)];
  const files = known.map((_, index) => `${KNOWN}.${index}`);
  const options = [
    ...["BatchMode=yes", "ConnectTimeout=30", "StrictHostKeyChecking=yes", "UpdateHostKeys=no"],
    ...[`UserKnownHostsFile=${files.join(" ") || "/dev/null"}`, "GlobalKnownHostsFile=/dev/null"],
    ...(keyFile === undefined
      ? [`IdentityAgent=${AGENT}`, "IdentityFile=none"]
      : ["IdentityAgent=none", "IdentitiesOnly=yes", `IdentityFile=${KEY}`]),
  ];
  // The settings of whoever runs the farm are not read: what they name is not in the box.
  const command = ["ssh", "-F", "none", ...options.flatMap((option) => ["-o", `'${option}'`])].join(" ");
  return {
    url: git,
    isRemote: true,
    settings: ["protocol.ssh.allow=always"],
    sees: [
      ...[...NETWORK, ...readable("/etc/passwd"), ...boxedProgram("ssh").shows],
      ...["--ro-bind", given, keyFile === undefined ? AGENT : KEY],
      ...known.flatMap((path, index) => ["--ro-bind-try", path, files[index] ?? ""]),
    ],
    env: { GIT_SSH_COMMAND: command },
    ...(keyFile === undefined ? {} : { as: keyFile }),
  };
}

/** What a server refused, where that is for whoever wrote the configuration to correct; undefined for all else. */
export function refusedBy({ url }: GitAccess, said: string): FarmError | undefined {
  const [, fact, hint] = REFUSALS.find(([sign]) => sign.test(said)) ?? [];
  if (fact === undefined || hint === undefined) return undefined;
  return new FarmError("CONFIG_INVALID", { detail: `${url} cannot be fetched: ${fact}`, hint });
}

const REFUSALS: readonly (readonly [sign: RegExp, fact: string, hint: string])[] = [
  [
    /Host key verification failed|No [\w-]+ host key is known/,
    "the host's key is not known",
    "Connect with ssh once and compare the fingerprint, or name a file of host keys: `knownHosts: FILE` beside `git`.",
  ],
  [
    /UNPROTECTED PRIVATE KEY FILE/,
    "ssh refuses a key that others can read",
    "Let only the farm's user read it: chmod 600.",
  ],
  [
    /Permission denied \(/,
    "the server accepts no key that it was offered",
    "Add the key to the agent (`ssh-add -l` lists them), or name a deploy key that the server knows: `key: FILE` beside `git`.",
  ],
  [
    /Authentication failed|could not read (Username|Password)|terminal prompts disabled/,
    "the server requires a user name and a password, or refuses those it got",
    "Give `credentials: {user: …, passwordFile: …}` beside `git`; a token of GitHub or GitLab is such a password. Servers often say the same of a repository that does not exist.",
  ],
];
