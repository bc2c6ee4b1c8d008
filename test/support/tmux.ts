/** A real terminal of a size that a test says: tmux on a server of its own. */
import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";

/** Why there is none; undefined where there is one. */
export const WITHOUT_TMUX = hasTmux() ? undefined : "tmux is not installed (apt-get install tmux)";

function hasTmux(): boolean {
  try {
    execFileSync("tmux", ["-V"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export interface Terminal {
  resize(columns: number, rows: number): void;
  /** All that was ever shown, with what has scrolled away, once `isThere` says that it is what is waited for. */
  shown(isThere: (screen: string) => boolean): Promise<{ readonly screen: string; readonly all: string }>;
}

/** Of a busy machine; what is there is taken at once. */
const PATIENCE_MS = 120_000;

export function openTerminal(
  argv: readonly string[],
  { columns, rows, env = {} }: { columns: number; rows: number; env?: Readonly<Record<string, string>> },
): Terminal {
  const server = `kmodfarm-test-${process.pid}-${columns}x${rows}-${counter++}`;
  const tmux = (...args: string[]) =>
    execFileSync("tmux", ["-L", server, "-f", "/dev/null", ...args], {
      encoding: "utf8",
      env: { ...process.env, TERM: "xterm-256color", LC_ALL: "C.UTF-8" },
    });
  onTestFinished(() => {
    tmux("kill-server");
  });
  const variables = Object.entries({ NO_COLOR: "1", ...env }).flatMap(([name, value]) => [
    "-e",
    `${name}=${value}`,
  ]);
  tmux("-u", "new-session", "-d", "-x", `${columns}`, "-y", `${rows}`, ...variables, "--", ...argv);
  tmux("set-option", "-g", "remain-on-exit", "on");
  return {
    resize: (wide, high) => void tmux("resize-window", "-x", `${wide}`, "-y", `${high}`),
    async shown(isThere) {
      const until = performance.now() + PATIENCE_MS;
      for (;;) {
        const screen = tmux("capture-pane", "-p");
        if (isThere(screen) || performance.now() > until)
          return { screen, all: tmux("capture-pane", "-p", "-S", "-") };
        await sleep(100);
      }
    },
  };
}

let counter = 0;
