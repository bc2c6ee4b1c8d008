/**
 * What whoever runs the farm has for ssh: an agent, and the host keys that they believe.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import type { SshOfUser } from "../../builder/origins/origin.ts";

export function sshOfUser(): SshOfUser {
  const { SSH_AUTH_SOCK: agent } = process.env;
  const knownHosts = [join(homedir(), ".ssh/known_hosts"), "/etc/ssh/ssh_known_hosts"];
  return agent === undefined || agent === "" ? { knownHosts } : { agent, knownHosts };
}
