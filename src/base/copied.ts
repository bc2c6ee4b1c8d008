/**
 * Text of strangers that is kept. A part of a text holds all of it in memory, and a text put together holds its parts: a few
 * characters of each of many large files would fill it, though only they are counted.
 */

/** A value as JSON has it, whose texts hold nothing but themselves. */
export function copied<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

/** The beginning of a text, no longer than that; a character that would be cut in half is left out. */
export function cut(text: string, most: number): string {
  return copied(text.slice(0, most).toWellFormed());
}
