/** Container engines as sandboxes: the contract that bubblewrap keeps. */
import { execFileSync } from "node:child_process";
import { describe, test } from "vitest";
import { docker } from "../../src/builder/sandboxes/docker.ts";
import { podman } from "../../src/builder/sandboxes/podman.ts";
import { makeBusyboxRoot } from "../support/busybox-root.ts";
import { sandboxContract } from "./sandbox.ts";
import { sandboxEscapes } from "./sandbox-escapes.ts";

sandboxContract(podman, makeBusyboxRoot());
sandboxEscapes(podman, { countsMemory: true });

if (answers("docker")) sandboxContract(docker, makeBusyboxRoot());
else
  describe("docker as a sandbox", () => {
    test("keeps the contract", ({ skip }) => skip("no docker engine answers on this machine"));
  });

function answers(program: string): boolean {
  try {
    execFileSync(program, ["version"], { stdio: "ignore", timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}
