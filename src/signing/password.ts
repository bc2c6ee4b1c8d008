/**
 * Passwords of keys, on the signer's side: from a file or a pipe, or asked for on the terminal that it was given. The
 * farm itself only passes the descriptor on.
 */
import { readFileSync, writeSync } from "node:fs";
import { isatty, ReadStream } from "node:tty";

const ENTER = /[\r\n]/;
const END = "\u0004";
const INTERRUPT = "\u0003";
const ERASE = "\u007f";

/** Empty where there is none. */
export async function readPassword(descriptor: number, question: string): Promise<string> {
  if (isatty(descriptor)) return askPassword(descriptor, question);
  return readFileSync(descriptor, "utf8").replace(/\r?\n$/, "");
}

/** Shows nothing of what is typed, and closes the terminal's descriptor. */
export async function askPassword(descriptor: number, question: string): Promise<string> {
  const terminal = new ReadStream(descriptor).setEncoding("utf8").setRawMode(true);
  writeSync(descriptor, question);
  try {
    return await typedLine(terminal);
  } finally {
    terminal.setRawMode(false);
    writeSync(descriptor, "\n");
    terminal.destroy();
  }
}

async function typedLine(terminal: ReadStream): Promise<string> {
  let typed = "";
  for await (const chunk of terminal.iterator({ destroyOnReturn: false }))
    for (const character of String(chunk)) {
      if (ENTER.test(character) || character === END) return typed;
      if (character === INTERRUPT) return "";
      typed = character === ERASE ? typed.slice(0, -1) : typed + character;
    }
  return typed;
}
