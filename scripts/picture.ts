/**
 * Draws what a command leaves on a terminal as SVG: docs/images/run.svg is a real run for three kernels.
 *
 *     node scripts/picture.ts docs/images/run.svg 80 24 ./bin/kmodfarm run
 */
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const CELL = { width: 8, height: 18 };
const MARGIN = 16;
const FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const [PAPER, INK] = ["#0d1117", "#e6edf3"];
/** Of the eight colours of a terminal, and their bright ones. */
const COLOURS = ["#6e7681", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#e6edf3"];

interface Run {
  readonly text: string;
  readonly colour: string;
  readonly isBold: boolean;
  readonly isDim: boolean;
}

/** What is in each line of a terminal, in the words of `tmux capture-pane -e`: text and nothing but colours. */
export function drawScreen(screen: string, columns: number, title: string): string {
  const lines = screen.replace(/\s+$/, "").split("\n");
  const [width, height] = [columns * CELL.width + 2 * MARGIN, lines.length * CELL.height + 2 * MARGIN];
  let style = { colour: INK, isBold: false, isDim: false };
  const drawn = lines.map((line, row) => {
    const runs: Run[] = [];
    for (const part of line.split(/(\p{Cc}\[[\d;]*m)/u)) {
      if (/^\p{Cc}/u.test(part)) style = part.slice(2, -1).split(";").map(Number).reduce(styled, style);
      else if (part !== "") runs.push({ text: part, ...style });
    }
    let column = 0;
    return runs.map((run) => {
      const at = { x: MARGIN + column * CELL.width, y: MARGIN + (row + 0.75) * CELL.height };
      column += Array.from(run.text).length;
      return toElement(run, at);
    });
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" rx="8" fill="${PAPER}"/>
<g font-family="${FONT}" font-size="13" fill="${INK}" xml:space="preserve">
${drawn.flat().filter(Boolean).join("\n")}
</g>
</svg>
`;
}

function styled(style: Omit<Run, "text">, code: number): Omit<Run, "text"> {
  if (code === 0) return { colour: INK, isBold: false, isDim: false };
  if (code === 1) return { ...style, isBold: true };
  if (code === 2) return { ...style, isDim: true };
  if (code === 39) return { ...style, colour: INK };
  const index = code >= 90 ? code - 90 : code - 30;
  return { ...style, colour: COLOURS[index] ?? style.colour };
}

/** Its width is said, so that columns stand below each other in whatever font there is. */
function toElement({ text, colour, isBold, isDim }: Run, { x, y }: { x: number; y: number }): string {
  if (text.trim() === "") return "";
  const look = [
    colour === INK ? "" : ` fill="${colour}"`,
    isBold ? ' font-weight="bold"' : "",
    isDim ? ' opacity="0.6"' : "",
  ].join("");
  return `<text x="${x}" y="${y}" textLength="${Array.from(text).length * CELL.width}"${look}>${escaped(text)}</text>`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Runs a command in a terminal of that size, and returns the last lines that it left there. */
async function lastScreen(argv: readonly string[], columns: number, rows: number): Promise<string> {
  const server = `kmodfarm-picture-${process.pid}`;
  const tmux = (...args: string[]) =>
    execFileSync("tmux", ["-L", server, "-f", "/dev/null", ...args], {
      encoding: "utf8",
      env: { ...process.env, TERM: "xterm-256color", LC_ALL: "C.UTF-8" },
    });
  // What tmux says of a command that has ended would be in the picture.
  tmux(
    "-u",
    "new-session",
    "-d",
    "-x",
    `${columns}`,
    "-y",
    `${rows}`,
    ";",
    "set-option",
    "-g",
    "remain-on-exit",
    "on",
    ";",
    "set-option",
    "-g",
    "remain-on-exit-format",
    "",
    ";",
    "respawn-pane",
    "-k",
    "--",
    ...argv,
  );
  try {
    while (tmux("display-message", "-p", "#{pane_dead}").trim() !== "1") await sleep(200);
    return tmux("capture-pane", "-p", "-e");
  } finally {
    tmux("kill-server");
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [file = "", columns = "", rows = "", ...argv] = process.argv.slice(2);
  const [wide, high] = [Number(columns), Number(rows)];
  if (!(wide > 0 && high > 0) || argv.length === 0)
    throw new Error("usage: picture.ts FILE COLUMNS ROWS COMMAND [ARGUMENT]...");
  // Where the program lies is nothing that a reader needs.
  const title = argv.map((word) => basename(word)).join(" ");
  await writeFile(file, drawScreen(await lastScreen(argv, wide, high), wide, title));
}
