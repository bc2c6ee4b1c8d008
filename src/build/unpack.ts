/**
 * Unpacking a package of unknown virtue: the distribution's own tool, shut in with nothing but its target.
 */
import { FarmError } from "../base/error.ts";
import { lastLines, run } from "../base/run.ts";

/** @throws FarmError PACKAGE_MALFORMED quoting the tool */
export async function unpackDeb(file: string, target: string, signal?: AbortSignal): Promise<void> {
  const system = ["/usr", "/bin", "/lib", "/lib64", "/sbin"].flatMap((path) => ["--ro-bind-try", path, path]);
  const argv = [
    ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", ...system],
    ["--tmpfs", "/tmp", "--dev", "/dev", "--ro-bind", file, "/package.deb", "--bind", target, "/target"],
    ["--", "dpkg-deb", "--extract", "/package.deb", "/target"],
  ].flat();
  const result = await run(argv, { timeoutMs: 300_000 }, signal);
  if (result.exitCode === 0) return;
  throw new FarmError(result.timedOut ? "TIMED_OUT" : "PACKAGE_MALFORMED", {
    detail: `${file} cannot be unpacked: ${lastLines(result.stderr, 3)}`,
    at: { file },
  });
}
