/**
 * Pages of the documentation on a terminal: Markdown without its marks, wrapped. Only what our own pages use.
 */

/** A table whose rows are longer than the width becomes a list: first cell, then the others below it. */
export function pageText(markdown: string, width: number): string {
  const blocks = markdown.trim().split(/\n{2,}/);
  return `${blocks.map((block) => blockText(block, width)).join("\n\n")}\n`;
}

function blockText(block: string, width: number): string {
  if (/^( {4}|```)/.test(block)) return block.replaceAll(/^```.*$/gm, "").replace(/^\n|\n$/g, "");
  const heading = /^#+ (.*)$/s.exec(block);
  if (heading !== null) return plain(heading[1] ?? "").toUpperCase();
  if (block.startsWith("|")) return tableLines(block.split("\n"), width).join("\n");
  const items = block.split(/\n(?=(?:[-*]|\d+\.) )/);
  return items
    .map((item) => wrapped(plain(item), width, /^([-*] |\d+\. )/.exec(item)?.[0].length ?? 0))
    .join("\n");
}

function tableLines(lines: readonly string[], width: number): string[] {
  const rows = lines
    .filter((line) => !/^\|[ :|-]+\|$/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => plain(cell.trim().replaceAll("\\|", "|"))),
    );
  return rows.flatMap(([first = "", ...rest], index) => {
    const text = rest.filter((cell) => cell !== "").join(index === 0 ? ", " : "; ");
    return [first, ...(text === "" ? [] : [wrapped(`    ${text}`, width, 4)])];
  });
}

/** Without the marks; a link to another page is the page's name. */
function plain(text: string): string {
  return text
    .replaceAll(/\[([^\]]+)\]\([^)]*\)/g, "$1")
    .replaceAll(/`([^`]*)`/g, "$1")
    .replaceAll(/\*\*([^*]+)\*\*/g, "$1")
    .replaceAll(/(?<![\w*])_([^_\n]+)_(?!\w)/g, "$1");
}

function wrapped(text: string, width: number, indent: number): string {
  const lines: string[] = [];
  let line = /^ */.exec(text)?.[0] ?? "";
  for (const word of text.trim().split(/\s+/)) {
    const isFirst = line.trim() === "";
    if (!isFirst && line.length + word.length + 1 > width) {
      lines.push(line);
      line = " ".repeat(indent) + word;
    } else line += isFirst ? word : ` ${word}`;
  }
  return [...lines, line].join("\n");
}
