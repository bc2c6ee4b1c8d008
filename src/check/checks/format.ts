/**
 * Whether files are modules at all, each one and nothing else: what every other check reads from them rests on this.
 */
import { moduleName } from "../../formats/kernel-module.ts";
import type { OpenedFile } from "../opened-modules.ts";
import { type Reason, reason, summed } from "../verdict.ts";
import type { Check } from "./check.ts";

const CODES = ["noModule", "packing", "fileName", "whole"] as const;
type Because = Reason<(typeof CODES)[number]>;

export const format = {
  name: "format",
  codes: CODES,
  question: "Is each file one complete module?",
  isDefault: true,
  isOfFiles: true,
  isKeyed: false,
  judge({ files }) {
    if (files.length === 0) return undefined;
    const names = files.map(({ name }) => name).join(", ");
    const good: Because[] = [reason("whole", `${names}: complete, with nothing else in the file`)];
    return summed("format", { faults: files.flatMap(faultsOf), gaps: [], good });
  },
} as const satisfies Check;

/** `name.ko`, compressed or not; the kernel's own name of it. */
export function fileModuleName(file: string): string {
  return moduleName(file.replace(/\.(xz|zst|gz)$/, ""));
}

function faultsOf({ name: file, opened, fault }: OpenedFile): Because[] {
  if (opened === undefined) return [reason("noModule", fault ?? `${file} is not a module`)];
  const [said, is] = [/\.(xz|zst|gz)$/.exec(file)?.[1], opened.packed?.packing];
  const { name } = opened.module;
  return [
    ...(said === is
      ? []
      : [
          reason(
            "packing",
            `${file} is ${is === undefined ? "not compressed" : `compressed as ${is}`}, contrary to its name`,
          ),
        ]),
    ...(name === fileModuleName(file) ? [] : [reason("fileName", `${file} contains a module named ${name}`)]),
  ];
}
