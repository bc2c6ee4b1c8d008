/** The smallest root that a shell script can run in. */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { sharedDirectory } from "./temporary.ts";

const BUSYBOX = "/bin/busybox";
const DIRECTORIES = ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr/lib"];

/** Busybox and its applets in /bin, and `busybox-suid`, which root owns when we are root. */
export function makeBusyboxRoot(): string {
  const root = join(sharedDirectory(), "root");
  for (const directory of DIRECTORIES) mkdirSync(join(root, directory), { recursive: true });
  copyFileSync(BUSYBOX, join(root, "bin", "busybox"));
  const applets = execFileSync(BUSYBOX, ["--list"]).toString().trim().split("\n");
  for (const applet of applets) if (applet !== "busybox") symlinkSync("busybox", join(root, "bin", applet));
  copyFileSync(BUSYBOX, join(root, "bin", "busybox-suid"));
  chmodSync(join(root, "bin", "busybox-suid"), 0o4755);
  return root;
}
