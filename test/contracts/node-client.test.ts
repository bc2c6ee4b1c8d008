/** The client in POSIX sh, by the shells and tools that nodes have. */
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { sharedDirectory } from "../support/temporary.ts";
import { nodeClientContract } from "./node-client.ts";

const CLIENT = join(import.meta.dirname, "../../deploy/node/kmodfarm-fetch");

nodeClientContract({ name: "dash, curl", argv: ["dash", CLIENT], path: "/usr/sbin:/usr/bin:/sbin:/bin" });

/** All of busybox, and what it does not have: on Debian flock is of util-linux. */
const tools = join(sharedDirectory(), "tools");
mkdirSync(tools);
for (const name of execFileSync("busybox", ["--list"], { encoding: "utf8" }).trim().split("\n"))
  symlinkSync("/usr/bin/busybox", join(tools, name.replace("/", "_")));
for (const name of ["openssl", "flock"]) symlinkSync(join("/usr/bin", name), join(tools, name));

nodeClientContract({ name: "busybox, wget", argv: [join(tools, "sh"), CLIENT], path: tools });
