/** Real servers of git on this machine: sshd with git's own shell commands, and git-http-backend behind a password. */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createServer as createSocket } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import { gitIn } from "./git-trees.ts";

/** A repository with these files and a tag `v1`, and submodules where paths lead to URLs. */
export function makeRepository(
  directory: string,
  files: Readonly<Record<string, string>>,
  submodules: Readonly<Record<string, { readonly url: string; readonly commit: string }>> = {},
): string {
  mkdirSync(directory, { recursive: true });
  gitIn(directory, "", "init", "--quiet", "--initial-branch=main");
  for (const [path, text] of Object.entries(files)) writeFileSync(join(directory, path), text);
  const modules = Object.entries(submodules).map(
    ([path, { url }]) => `[submodule "${path}"]\n\tpath = ${path}\n\turl = ${url}\n`,
  );
  if (modules.length > 0) writeFileSync(join(directory, ".gitmodules"), modules.join(""));
  gitIn(directory, "", "add", "--all");
  for (const [path, { commit }] of Object.entries(submodules))
    gitIn(directory, "", "update-index", "--add", "--cacheinfo", `160000,${commit},${path}`);
  gitIn(directory, "", "commit", "--quiet", "--message=first");
  gitIn(directory, "", "tag", "v1");
  return gitIn(directory, "", "rev-parse", "v1");
}

async function freePort(): Promise<number> {
  const socket = createSocket().listen(0, "127.0.0.1");
  await new Promise((resolve) => socket.once("listening", resolve));
  const { port } = socket.address() as AddressInfo;
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

export function makeSshKey(file: string): string {
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", file]);
  return file;
}

/** sshd for the user that the test runs as; who has `key` may log in. */
export async function startSshd(directory: string, key: string) {
  mkdirSync("/run/sshd", { recursive: true });
  const hostKey = makeSshKey(join(directory, "host"));
  const port = await freePort();
  const settings = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${key}.pub`,
    "PidFile none",
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "PermitRootLogin prohibit-password",
  ];
  const config = join(directory, "sshd_config");
  writeFileSync(config, `${settings.join("\n")}\n`);
  const sshd = spawn("/usr/sbin/sshd", ["-D", "-e", "-f", config], { stdio: ["ignore", "ignore", "pipe"] });
  onTestFinished(() => void sshd.kill());
  await new Promise<void>((resolve, reject) => {
    let said = "";
    sshd.stderr.on("data", (text) => {
      said += text;
      if (said.includes("listening")) resolve();
    });
    sshd.on("exit", () => reject(new Error(said)));
  });
  const [type, bits] = execFileSync("cat", [`${hostKey}.pub`])
    .toString()
    .split(" ");
  const known = join(directory, "known_hosts");
  writeFileSync(known, `[127.0.0.1]:${port} ${type} ${bits}\n`);
  return { url: `ssh://${userInfo().username}@127.0.0.1:${port}`, known };
}

/** An agent that has a key; its socket. */
export async function startAgent(directory: string, key: string): Promise<string> {
  const socket = join(directory, "agent");
  const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: ["ignore", "pipe", "ignore"] });
  onTestFinished(() => void agent.kill());
  await new Promise((resolve) => agent.stdout.once("data", resolve));
  execFileSync("ssh-add", ["-q", key], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
  return socket;
}

/** What lies below `root`, over http, for `me` with the password `hunter2`; `seen` are the users that asked. */
export async function startGitHttp(root: string) {
  const seen: string[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const [, basic = ""] = /^Basic (.*)$/.exec(request.headers.authorization ?? "") ?? [];
    const who = Buffer.from(basic, "base64").toString();
    seen.push(who);
    if (who !== "me:hunter2") {
      response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
      return;
    }
    const { pathname, search } = new URL(request.url ?? "/", "http://x");
    const env = {
      ...{ PATH: process.env.PATH, GIT_PROJECT_ROOT: root, GIT_HTTP_EXPORT_ALL: "1", PATH_INFO: pathname },
      ...{ QUERY_STRING: search.slice(1), REQUEST_METHOD: request.method, REMOTE_USER: "me" },
      ...{
        CONTENT_TYPE: request.headers["content-type"],
        HTTP_CONTENT_ENCODING: request.headers["content-encoding"],
      },
      GIT_PROTOCOL: request.headers["git-protocol"]?.toString(),
    };
    const body = await buffer(request);
    const said = execFileSync("git", ["http-backend"], { env, input: body });
    const end = said.indexOf("\r\n\r\n");
    for (const line of said.subarray(0, end).toString().split("\r\n")) {
      const [name = "", value = ""] = line.split(": ");
      if (name === "Status") response.statusCode = Number(value.slice(0, 3));
      else response.setHeader(name, value);
    }
    response.end(said.subarray(end + 4));
  };
  const server = createServer((request, response) => void answer(request, response)).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}
