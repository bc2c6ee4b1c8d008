/** The client in POSIX sh, under the shells and with the tools that nodes have. */
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { sharedDirectory } from "./temporary.ts";

export const CLIENT = join(import.meta.dirname, "../../deploy/node/kmodfarm-fetch");
export const SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

/** All of busybox, and what it does not have: on Debian flock is of util-linux. */
export function busyboxClient() {
  const tools = join(sharedDirectory(), "tools");
  mkdirSync(tools);
  for (const name of execFileSync("busybox", ["--list"], { encoding: "utf8" }).trim().split("\n"))
    symlinkSync("/usr/bin/busybox", join(tools, name.replace("/", "_")));
  for (const name of ["openssl", "flock"]) symlinkSync(join("/usr/bin", name), join(tools, name));
  return { name: "busybox, wget", argv: [join(tools, "sh"), CLIENT], path: tools };
}
