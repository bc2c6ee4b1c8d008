/** What a package's script tries to reach from where it is installed, and where it is written down what it reached. */
import { createServer, type Server } from "node:net";
import { join } from "node:path";

export interface Bait {
  /** A directory of this machine that everybody may write to, with a socket `socket` in it. */
  readonly directory: string;
  /** A port of this machine's loopback interface. */
  readonly port: number;
}

/** Where, in the root, the script leaves its report. */
export const REPORT = "report";

/**
 * Shell lines for a script of a package: each line of the report is a thing that must not be there, but the first five.
 * Runs by any POSIX shell with the usual tools, or busybox's.
 */
export function hostileScript({ directory, port }: Bait): string {
  return `
exec >/${REPORT} 2>/dev/null
echo "capabilities $(grep CapEff /proc/self/status | cut -f 2)"
echo "ids $(tr -s ' ' </proc/self/uid_map)"
echo "interfaces $(tail -n +3 /proc/net/dev | cut -d : -f 1 | tr -d ' ' | tr '\\n' ' ')"
echo "descriptors $(ls /proc/self/fd | tr '\\n' ' ')"
echo "processes $(ls /proc | grep -c '^[0-9]')"
for top in "" /proc/1/root /proc/self/root/../..; do
	[ -e "$top${directory}" ] && echo "seen $top${directory}"
	[ -S "$top${directory}/socket" ] && echo "socket $top"
	[ -e "$top/work" ] && echo "seen $top/work"
	echo x 2>/dev/null >"$top${directory}/written"
done
if command -v nc >/dev/null; then echo hello | nc -w 2 127.0.0.1 ${port} && echo "network"; fi
if command -v bash >/dev/null; then bash -c 'echo >/dev/tcp/127.0.0.1/${port}' && echo "network"; fi
mknod /disk b 8 0 && echo "device made"
mkdir -p /mounted
mount -t tmpfs none /mounted && echo "mounted"
mount -t proc none /mounted && echo "mounted proc"
echo core 2>/dev/null >/proc/sys/kernel/core_pattern && echo "kernel setting"
unshare -U true && echo "namespace of users"
cp /bin/sh /usr/bin/sharp-shell && chmod 6755 /usr/bin/sharp-shell
exit 0
`;
}

/** What of a report is an escape. */
export function escapesIn(report: string): string[] {
  const lines = report.split("\n").filter((line) => line !== "");
  const facts = new Map(lines.slice(0, 5).map((line) => [line.split(" ")[0] ?? "", line]));
  const wrong = [
    // None of those that reach beyond what the script's own root owns: no SYS_ADMIN, NET_ADMIN, SYS_PTRACE, MKNOD.
    /^capabilities 00000000800400fb$/,
    /^ids 0 1879048192 65536$|^ids {1,2}0 1879048192 65536$/,
    /^interfaces (lo )?$/,
    /^descriptors [0-9 ]{1,12}$/,
    /^processes [1-9]$|^processes 1[0-9]$/,
  ].flatMap((expression, index) => {
    const line = lines[index] ?? "no report";
    return expression.test(line) ? [] : [line];
  });
  return [...(facts.size === 5 ? [] : ["no whole report"]), ...wrong, ...lines.slice(5)];
}

/** Lays the bait's socket. */
export function listenIn(directory: string): Server {
  return createServer((socket) => socket.end()).listen(join(directory, "socket"));
}
