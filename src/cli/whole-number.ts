/** Whole numbers of the command line. Apart from other options, so that help loads nothing else. */
import { InvalidArgumentError } from "commander";

const MOST = 999_999;

/** Of an option or an argument, which commander names. */
export function toNumber(value: string): number {
  if (!/^[1-9]\d{0,5}$/.test(value))
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${MOST}.`);
  return Number(value);
}
